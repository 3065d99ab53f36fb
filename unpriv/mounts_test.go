package unpriv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// tree is a listing with what a layer would hold of each path.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		target, _ := os.Readlink(path)
		fmt.Fprintln(&out, strings.TrimPrefix(path, dir), fi.Mode(), fi.Size(), fi.ModTime().UnixNano(), target)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestBuildMounts(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	c := container(newRoot(t), "ls", "/dev")
	if got, want := runOK(t, c), "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n"; got != want {
		t.Errorf("/dev has %q, want %q", got, want)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"write", "/dev/null", "x"}, ""},
		{[]string{"write", "/dev/shm/x", "x"}, ""},
		{[]string{"cat", "/etc/hosts"}, hostFile(t, "/etc/hosts")},
		{[]string{"cat", "/etc/resolv.conf"}, hostFile(t, "/etc/resolv.conf")},
		{[]string{"cat", "/proc/1/cmdline"}, "helper\x00cat\x00/proc/1/cmdline\x00"},
		{[]string{"write", "/etc/hosts", "x"}, "helper: open /etc/hosts: read-only file system\n"},
		{[]string{"mkdir", "/sys/x"}, "helper: mkdir /sys/x: read-only file system\n"},
	} {
		c := container(c.Root, tt.args...)
		got, _, err := runOutput(t, c)
		if err != nil || got != tt.want {
			t.Errorf("%q: %q, %v; want %q", tt.args, got, err, tt.want)
		}
	}
}

func hostFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Skip(err)
	}
	return string(b)
}

// Mount points are where programs expect them and are no part of the tree.
func TestMountPointsComeAndGo(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	for _, tt := range []struct {
		name  string
		setup func(root string)
		path  string // of resolv.conf, as the program asks for it
	}{
		{"files", func(root string) {}, "/etc/resolv.conf"},
		{"nothing", func(root string) {
			for _, d := range []string{"etc", "dev", "proc", "sys", "tmp"} {
				os.RemoveAll(filepath.Join(root, d))
			}
		}, "/etc/resolv.conf"},
		{"absolute link to nothing", func(root string) {
			os.Remove(root + "/etc/resolv.conf")
			symlink(t, "/run/systemd/resolve/stub-resolv.conf", root+"/etc/resolv.conf")
		}, "/run/systemd/resolve/stub-resolv.conf"},
		{"relative link to nothing", func(root string) {
			os.Remove(root + "/etc/resolv.conf")
			symlink(t, "../run/resolvconf/resolv.conf", root+"/etc/resolv.conf")
		}, "/etc/resolv.conf"},
		{"link to a file", func(root string) {
			os.Remove(root + "/etc/resolv.conf")
			writeFile(t, root+"/run/there", "image's")
			symlink(t, "../../../../run/there", root+"/etc/resolv.conf")
		}, "/run/there"},
		{"linked directory", func(root string) {
			os.RemoveAll(root + "/etc")
			symlink(t, "usr/etc", root+"/etc")
			mkdir(t, root+"/usr/etc")
		}, "/usr/etc/resolv.conf"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := newRoot(t)
			tt.setup(root)
			before := tree(t, root)
			if got := runOK(t, container(root, "cat", tt.path)); got != hostFile(t, "/etc/resolv.conf") {
				t.Errorf("resolv.conf is %q", got)
			}
			if after := tree(t, root); after != before {
				t.Errorf("the tree changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

// What the program did next to a mount point stays.
func TestMountPointsInUseStay(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	root := newRoot(t)
	src := t.TempDir()
	m, err := Bind(src, "/new/deep/point", false, true)
	if err != nil {
		t.Fatal(err)
	}
	c := container(root, "write", "/new/mine", "x")
	c.Mounts = append(c.Mounts, m)
	runOK(t, c)
	if _, err := os.Lstat(root + "/new/deep"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("/new/deep: %v", err)
	}
	if b, err := os.ReadFile(root + "/new/mine"); err != nil || string(b) != "x" {
		t.Errorf("/new/mine: %q, %v", b, err)
	}
}

// An image cannot have anything mounted on or made in the host's files,
// whatever links it has.
func TestHostileImage(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	for _, link := range []string{"etc", "proc", "sys", "dev", "etc/resolv.conf", "etc/hosts", "data"} {
		for _, kind := range []string{"absolute", "climbing", "magic", "loop"} {
			t.Run(strings.ReplaceAll(link, "/", "-")+" "+kind, func(t *testing.T) {
				root := newRoot(t)
				outside := filepath.Dir(root) + "/outside"
				writeFile(t, outside+"/hosts", "host's")
				before := tree(t, outside)
				target := map[string]string{
					"absolute": outside,
					"climbing": "../../../../../../../../../.." + outside,
					"magic":    "/proc/self/cwd" + outside,
					"loop":     "/" + link,
				}[kind]
				if err := os.RemoveAll(filepath.Join(root, link)); err != nil {
					t.Fatal(err)
				}
				symlink(t, target, filepath.Join(root, link))
				c := container(root, "write", "/data/evil", "x")
				m, err := Bind(t.TempDir(), "/data", false, true)
				if err != nil {
					t.Fatal(err)
				}
				c.Mounts = append(c.Mounts, m)
				mounts := mountTable(t)
				out, status, err := runOutput(t, c)
				t.Log(out, status, err) // it may well work, inside
				if after := tree(t, outside); after != before {
					t.Errorf("outside changed from\n%s\nto\n%s", before, after)
				}
				if after := mountTable(t); after != mounts {
					t.Errorf("mounts changed from\n%s\nto\n%s", mounts, after)
				}
			})
		}
	}
}

func TestBind(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	root := newRoot(t)
	src := t.TempDir()
	writeFile(t, src+"/file", "host's")
	symlink(t, src, src+"-link")
	defer os.Remove(src + "-link")
	bind := func(source, target string, ro, create bool) specs.Mount {
		t.Helper()
		m, err := Bind(source, target, ro, create)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, tt := range []struct {
		name  string
		mount specs.Mount
		args  []string
		want  string
		err   string
	}{
		{"directory", bind(src, "/tmp", false, false), []string{"cat", "/tmp/file"}, "host's", ""},
		{"file", bind(src+"/file", "/etc/hosts", false, false), []string{"cat", "/etc/hosts"}, "host's", ""},
		{"link", bind(src+"-link", "/tmp", false, false), []string{"cat", "/tmp/file"}, "host's", ""},
		{"read-only", bind(src, "/tmp", true, false), []string{"write", "/tmp/x", ""}, "helper: open /tmp/x: read-only file system\n", ""},
		{"file on missing point", bind(src+"/file", "/a/b/c", false, true), []string{"cat", "/a/b/c"}, "host's", ""},
		{"missing point", bind(src, "/a/b/c", false, false), nil, "", `mount "/a/b/c": the image has no such mount point`},
		{"in fresh file system", bind(src+"/file", "/dev/deep/file", true, true), []string{"cat", "/dev/deep/file"}, "host's", ""},
		{"directory on file", bind(src, "/etc/hosts", false, false), nil, "", `mount "/etc/hosts": what the image has there is of another kind`},
		{"relative", specs.Mount{Type: "bind", Source: src, Destination: "tmp"}, nil, "", `mount "tmp": the path is not absolute`},
		{"optional", specs.Mount{Type: "bind", Source: "/no/such", Destination: "/tmp", Options: []string{Optional}}, []string{"echo"}, "\n", ""},
		{"gone", specs.Mount{Type: "bind", Source: "/no/such", Destination: "/tmp"}, nil, "", `bind "/no/such": no such file or directory`},
		{"unknown type", specs.Mount{Type: "nofs", Source: "x", Destination: "/tmp"}, nil, "", `mount "/tmp": no such device`},
		{"flags", specs.Mount{Type: "tmpfs", Source: "x", Destination: "/tmp", Options: []string{"ro", "size=4k"}}, []string{"mkdir", "/tmp/x"}, "helper: mkdir /tmp/x: read-only file system\n", ""},
	} {
		c := container(root, tt.args...)
		c.Mounts = append(c.Mounts, tt.mount)
		out, _, err := runOutput(t, c)
		if text := fmt.Sprint(err); tt.err != "" && text != tt.err {
			t.Errorf("%s: error %q, want %q", tt.name, text, tt.err)
		} else if tt.err == "" && (err != nil || out != tt.want) {
			t.Errorf("%s: %q, %v, want %q", tt.name, out, err, tt.want)
		}
	}
	if _, err := Bind("/no/such", "/tmp", false, false); err == nil || err.Error() != `bind "/no/such": no such file or directory` {
		t.Errorf("Bind of nothing: %v", err)
	}
}

func TestSkeleton(t *testing.T) {
	dir := t.TempDir()
	if err := Skeleton(dir); err != nil {
		t.Fatal(err)
	}
	for _, m := range BuildMounts() {
		if strings.Count(m.Destination, "/") > 1 && !strings.HasPrefix(m.Destination, "/etc/") {
			continue // in /dev
		}
		if _, err := os.Lstat(dir + m.Destination); err != nil {
			t.Error(err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(dir+"/tmp", &st); err != nil || st.Mode&0o7777 != 0o1777 {
		t.Errorf("/tmp: mode %o, %v", st.Mode, err)
	}
}
