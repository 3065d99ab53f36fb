package fakeroot

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// packagesVar names the packages of TestTruth, separated by blanks.
const packagesVar = "VIRGA_TEST_PACKAGES"

const defaultPackages = "adduser openssh-server man-db cron"

// TestTruth installs packages twice, as real root in a chroot and emulated, and
// compares type, mode, owner, device number, capabilities and access lists of
// every path.
func TestTruth(t *testing.T) {
	base := debian(t)
	if os.Getuid() != 0 {
		t.Skip("not real root, who is the truth")
	}
	packages := os.Getenv(packagesVar)
	if packages == "" {
		packages = defaultPackages
	}
	script := `
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
apt-get -q update; apt-get -qy install --no-install-recommends ` + packages
	real := realRoot(t, os.Getenv(baseTarVar), script)
	var emulated string
	o := shell(t, script, func(c *container) { emulated = c.Dir })
	table := Merge(base.table, o.Table)
	got := listMerged(t, base.dir, filepath.Join(emulated, "upper"), table)
	want := list(t, real, nil)
	compare(t, got, want)
}

// realRoot runs a script in a chroot, which it returns.
func realRoot(t *testing.T, tarball, script string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "virga-truth-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-ec", `
mount --make-rprivate /
tar -xpf "$1" -C "$2" --numeric-owner --exclude='./dev/*'
for d in dev sys; do mount --rbind /$d "$2/$d"; done
mount -t proc proc "$2/proc"
mount --bind /etc/resolv.conf "$2/etc/resolv.conf"
exec chroot "$2" /bin/sh -ec "$3"`, "sh", tarball, dir, script)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("real root: %v\n%s", err, tail(string(out), 2000))
	}
	return dir
}

// list describes every path of a tree, with a table's records applied.
func list(t *testing.T, dir string, table Table) map[string]string {
	t.Helper()
	m := map[string]string{}
	walk(t, dir, func(rel string, st unix.Stat_t) { m[rel] = describe(filepath.Join(dir, rel), st, table, rel) })
	return m
}

func walk(t *testing.T, dir string, f func(rel string, st unix.Stat_t)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		f(rel, st)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// listMerged describes lower with upper on top, whiteouts applied.
func listMerged(t *testing.T, lower, upper string, table Table) map[string]string {
	t.Helper()
	m := list(t, lower, table)
	drop := func(rel string) {
		for p := range m {
			if strings.HasPrefix(p, rel+"/") {
				delete(m, p)
			}
		}
	}
	walk(t, upper, func(rel string, st unix.Stat_t) {
		if st.Mode&unix.S_IFMT == unix.S_IFCHR {
			delete(m, rel)
			drop(rel)
			return
		}
		buf := make([]byte, 1)
		if _, err := unix.Lgetxattr(filepath.Join(upper, rel), "user.overlay.opaque", buf); err == nil {
			drop(rel)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			drop(rel)
		}
		m[rel] = describe(filepath.Join(upper, rel), st, table, rel)
	})
	return m
}

func describe(p string, st unix.Stat_t, table Table, rel string) string {
	if table != nil {
		st.Uid, st.Gid = 0, 0
		rec := table[rel]
		st.Uid, st.Gid = rec.UID, rec.GID
		device := rec.Type != 0
		st.Mode = rec.wanted(st.Mode)
		if device {
			st.Rdev = rec.Rdev
		}
		return fmt.Sprintf("%o %d:%d %#x%s", st.Mode, st.Uid, st.Gid, rdev(st), attributes(p, rec))
	}
	return fmt.Sprintf("%o %d:%d %#x%s", st.Mode, st.Uid, st.Gid, rdev(st), attributes(p, Record{}))
}

func rdev(st unix.Stat_t) uint64 {
	if k := st.Mode & unix.S_IFMT; k == unix.S_IFCHR || k == unix.S_IFBLK {
		return st.Rdev
	}
	return 0
}

// attributes are capabilities, without the root id of version 3, and lists.
func attributes(p string, rec Record) string {
	s := ""
	for _, name := range []string{"security.capability", aclAccess, aclDefault} {
		buf := make([]byte, 4096)
		n, err := unix.Lgetxattr(p, name, buf)
		val := buf[:max(n, 0)]
		if err != nil {
			val = rec.Xattrs[name]
		}
		if name == "security.capability" && len(val) == 24 {
			val = append([]byte{val[0], val[1], val[2], 2}, val[4:20]...)
		}
		if len(val) > 0 {
			s += " " + name + "=" + hex.EncodeToString(val)
		}
	}
	return s
}

// differing are paths whose existence is a matter of time or chance: caches,
// logs, and the mounts of the tests.
var differing = regexp.MustCompile(`^(proc|sys|dev)(/|$)|^etc/resolv\.conf$|^var/cache/(man|ldconfig|apt|debconf)/|^tmp/|^var/lib/apt/lists/|^etc/.*~$|/__pycache__/`)

func compare(t *testing.T, got, want map[string]string) {
	t.Helper()
	paths := map[string]bool{}
	for p := range got {
		paths[p] = true
	}
	for p := range want {
		paths[p] = true
	}
	var bad []string
	n := 0
	for p := range paths {
		if differing.MatchString(p) {
			continue
		}
		n++
		if got[p] != want[p] {
			bad = append(bad, fmt.Sprintf("%s: got %q, want %q", p, got[p], want[p]))
		}
	}
	sort.Strings(bad)
	t.Logf("%d paths compared, %d differ", n, len(bad))
	for i, b := range bad {
		if i == 60 {
			t.Errorf("... and %d more", len(bad)-i)
			break
		}
		t.Error(b)
	}
}
