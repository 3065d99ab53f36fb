package layer

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mounted returns a directory of a new file system of 64 MiB on a loop device,
// made by the command mkfs and mounted by the command mount, whose last arguments
// are added.
func mounted(t *testing.T, mkfs, mount []string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount it")
	}
	top := t.TempDir()
	img, dir := filepath.Join(top, "img"), filepath.Join(top, "mnt")
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Skipf("%v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run(append(mkfs, img)...)
	device := run("losetup", "--find", "--show", img)
	t.Cleanup(func() { exec.Command("losetup", "--detach", device).Run() })
	run(append(mount, device, dir)...)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// exfat has no links of either kind and ignores the case of letters.
func exfat(t *testing.T) string {
	return mounted(t, []string{"mkfs.exfat"}, []string{"mount.exfat-fuse", "-o", "rw"})
}

// TestUnpackCoarseTimes: the layer of a tree is the same where the file
// system keeps whole seconds only.
func TestUnpackCoarseTimes(t *testing.T) {
	root := mounted(t, []string{"mkfs.ext4", "-q", "-I", "128"}, []string{"mount"})
	es := []entry{dir("d"), file("d/f", "x"), sym("s", "x"), special(kindFifo, "p"), hard("h", "d/f")}
	if _, err := Unpack(t.Context(), root, blobs(t, es), Options{}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(root, "d/f"), &st); err != nil || st.Mtim.Sec != testTime.Unix() || st.Mtim.Nsec != 0 {
		t.Errorf("time is %v (%v), want whole seconds", st.Mtim, err)
	}
	a := newArena(t)
	if _, err := Unpack(t.Context(), a.root, blobs(t, es), Options{}); err != nil {
		t.Fatal(err)
	}
	equalLines(t, "members", listing(t, packed(t, root, nil, PackOptions{})), listing(t, packed(t, a.root, nil, PackOptions{})))
}

// TestUnpackIgnoredCase: two names that are one on the file system are an
// error, in whatever order they come, and never one file over the other.
func TestUnpackIgnoredCase(t *testing.T) {
	root := exfat(t)
	for name, layers := range map[string][][]entry{
		"files":               {{file("d/File", "1"), file("d/file", "2")}},
		"files of two layers": {{file("d/File", "1")}, {file("d/file", "2")}},
		"large files":         {{file("File", strings.Repeat("1", smallFile+1)), file("file", strings.Repeat("2", smallFile+1))}},
		"directories":         {{dir("Dir"), file("Dir/f", "1"), dir("dir"), file("dir/f", "2")}},
		"file and directory":  {{file("Name", "1"), dir("name")}},
		"hard link":           {{file("a", "1"), file("B", "1"), hard("b", "a")}},
	} {
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := Unpack(t.Context(), root, blobs(t, layers...), Options{}); !errors.Is(err, errOneName) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	// What replaces a file of its own name may do so.
	if _, err := Unpack(t.Context(), root, blobs(t, []entry{file("File", "1"), dir("Dir")}, []entry{file("File", "2"), dir("Dir")}), Options{}); err != nil {
		t.Error(err)
	}
}

// TestUnpackNoLinks: without hard links, their names are copies; without
// symbolic ones, the error says so.
func TestUnpackNoLinks(t *testing.T) {
	root := exfat(t)
	if _, err := Unpack(t.Context(), root, blobs(t, []entry{file("f", "content"), hard("h", "f")}), Options{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", "h"} {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != "content" {
			t.Errorf("%s is %q (%v)", name, got, err)
		}
	}
	_, err := Unpack(t.Context(), root, blobs(t, []entry{sym("s", "f")}), Options{})
	if err == nil || !strings.Contains(err.Error(), `create "s": `) {
		t.Errorf("a symbolic link: %v", err)
	}
}

// TestUnpackNoXattrs: what the file system has no place for is in the table.
func TestUnpackNoXattrs(t *testing.T) {
	dir := inNamespace(t, "ramfs", "")
	if dir == "" {
		return
	}
	u, err := Unpack(t.Context(), dir, blobs(t, []entry{file("f", "x").xattr("user.a", "1")}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	equalLines(t, "tree", describe(t, dir, u.Owners, false), []string{`file f 644 "x" user.a="1"`})
	if got := listing(t, packed(t, dir, u.Owners, PackOptions{})); !strings.Contains(strings.Join(got, "\n"), "SCHILY.xattr.user.a=") {
		t.Errorf("packed, the attribute is gone: %q", got)
	}
}

// TestUnpackFileSizeLimit: a limit met in the middle of a file is an error
// that says so. A quota's (EDQUOT) takes the same way.
func TestUnpackFileSizeLimit(t *testing.T) {
	dir := inNamespace(t, "tmpfs", "")
	if dir == "" {
		return
	}
	old := unix.Rlimit{}
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	small := old
	small.Cur = 100 << 10
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	_, err := Unpack(t.Context(), dir, blobs(t, []entry{file("f", strings.Repeat("x", 200<<10))}), Options{})
	unix.Setrlimit(unix.RLIMIT_FSIZE, &old)
	if !errors.Is(err, unix.EFBIG) {
		t.Errorf("error is %v, want EFBIG", err)
	}
}
