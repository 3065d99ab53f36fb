package unpriv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// stack makes n lower directories, each with a file of its own and one that all
// have, and an Overlay of them.
func stack(t *testing.T, base string, n int) Overlay {
	t.Helper()
	o := Overlay{Upper: base + "/upper", Work: base + "/work"}
	mkdir(t, o.Upper)
	mkdir(t, o.Work)
	for i := range n {
		dir := fmt.Sprintf("%s/lower%03d", base, i)
		writeFile(t, dir+"/common", fmt.Sprint(i))
		writeFile(t, fmt.Sprintf("%s/own%03d", dir, i), "")
		o.Lower = append(o.Lower, dir)
	}
	mkdir(t, base+"/merged")
	return o
}

// mounters are the ways to mount an overlay; older kernels have only the second.
var mounters = map[string]func(target string, o Overlay) error{
	"fsmount": MountOverlay,
	"mount":   func(target string, o Overlay) error { return o.mount(target) },
}

func TestMountOverlay(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	for how, mount := range mounters {
		for _, tt := range []struct {
			name string
			n    int
			dir  string // where the directories are, below a temporary one
			ro   bool
		}{
			{"one", 1, "x", false},
			{"several", 3, "x", false},
			{"read-only", 3, "x", true},
			{"127", 127, "x", false},
			{"500", 500, "x", false},
			{"strange names", 3, `a,b:c d\e"f`, false},
			{"long names", 3, strings.Repeat("a-long-name-for-a-directory/", 12), false},
			{"long names, many", 60, strings.Repeat("a-long-name-for-a-directory/", 12), false},
		} {
			t.Run(how+" "+tt.name, func(t *testing.T) {
				base := filepath.Join(t.TempDir(), tt.dir)
				o := stack(t, base, tt.n)
				o.Volatile = true
				if tt.ro {
					o.Upper, o.Work = "", ""
				}
				if err := mount(base+"/merged", o); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := Unmount(base + "/merged"); err != nil {
						t.Error(err)
					}
				}()
				if b, err := os.ReadFile(base + "/merged/common"); err != nil || string(b) != "0" {
					t.Errorf("the top directory is not the first: %q, %v", b, err)
				}
				if entries, err := os.ReadDir(base + "/merged"); err != nil || len(entries) != tt.n+1 {
					t.Errorf("%d entries, %v; want %d", len(entries), err, tt.n+1)
				}
				err := os.WriteFile(base+"/merged/common", []byte("changed"), 0o644)
				if tt.ro && err == nil || !tt.ro && err != nil {
					t.Errorf("write: %v", err)
				}
				if b, err := os.ReadFile(o.Lower[0] + "/common"); err != nil || string(b) != "0" {
					t.Errorf("a lower directory changed: %q, %v", b, err)
				}
			})
		}
	}
}

func TestMountOverlayErrors(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	base := t.TempDir()
	o := stack(t, base, 2)
	many := Overlay{Lower: make([]string, 501)}
	gone := o
	gone.Lower = []string{o.Lower[0], base + "/gone"}
	for _, tt := range []struct {
		name string
		o    Overlay
		want string
	}{
		{"too many", many, "mount overlay of 501 directories: the kernel stacks at most 500"},
		{"none", Overlay{}, "BUG"},
		{"gone", gone, "mount overlay of 2 directories: no such file or directory"},
	} {
		if err := MountOverlay(base+"/merged", tt.o); err == nil || !strings.HasPrefix(err.Error(), tt.want) && !strings.Contains(err.Error(), "BUG") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := Unmount(base + "/merged"); err == nil {
		t.Error("nothing to unmount: no error")
	}
}

// One tree without an upper directory is not an overlay, which needs two.
func TestMountOneReadOnly(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	base := t.TempDir()
	o := stack(t, base, 1)
	if err := MountOverlay(base+"/merged", Overlay{Lower: o.Lower}); err != nil {
		t.Fatal(err)
	}
	defer Unmount(base + "/merged")
	if err := os.WriteFile(base+"/merged/x", nil, 0o644); err == nil {
		t.Error("it can be written to")
	}
	if err := os.WriteFile(o.Lower[0]+"/x", nil, 0o644); err != nil {
		t.Errorf("and so can the directory itself not: %v", err)
	}
}

// Stages are built in parallel.
func TestMountOverlayTogether(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	top := t.TempDir()
	before := mountTable(t)
	var wg sync.WaitGroup
	for i := range 20 {
		base := fmt.Sprintf("%s/%d", top, i)
		o := stack(t, base, 5)
		installHelper(t, o.Lower[4])
		wg.Go(func() {
			if err := MountOverlay(base+"/merged", o); err != nil {
				t.Error(err)
				return
			}
			c := container(base+"/merged", "write", "/made", fmt.Sprint(i))
			if status, err := Run(t.Context(), c); err != nil || status != (Status{}) {
				t.Error(status, err)
			}
			if err := Unmount(base + "/merged"); err != nil {
				t.Error(err)
			}
			if b, err := os.ReadFile(base + "/upper/made"); err != nil || string(b) != fmt.Sprint(i) {
				t.Errorf("%q, %v", b, err)
			}
			// Nobody holds the mount: its work directory is free for another one.
			if entries, err := os.ReadDir(base + "/upper"); err != nil || len(entries) != 1 {
				t.Errorf("upper has %v, %v", entries, err)
			}
		})
	}
	wg.Wait()
	if after := mountTable(t); after != before {
		t.Errorf("mounts changed from\n%s\nto\n%s", before, after)
	}
}

func TestProbeOverlay(t *testing.T) {
	if !inNamespaces(t, Entry{}) {
		return
	}
	for _, dir := range []string{t.TempDir(), "/dev/shm", "/var/tmp"} {
		if unix.Access(dir, unix.W_OK) != nil {
			continue
		}
		before, _ := os.ReadDir(dir)
		err := ProbeOverlay(t.Context(), dir)
		t.Log(dir, err)
		if after, _ := os.ReadDir(dir); len(after) != len(before) && dir != "/var/tmp" {
			t.Errorf("%s: the probe leaves something behind: %v", dir, after)
		}
		if err != nil && dir == "/dev/shm" {
			t.Errorf("%s: %v", dir, err) // user attributes on tmpfs: Linux 6.6
		}
	}
	// What cannot hold an upper directory: another overlay.
	base := t.TempDir()
	if err := MountOverlay(base+"/merged", stack(t, base, 2)); err != nil {
		t.Fatal(err)
	}
	defer Unmount(base + "/merged")
	if err := ProbeOverlay(t.Context(), base+"/merged"); err == nil {
		t.Error("an overlay can hold upper directories?")
	}
	if err := ProbeOverlay(t.Context(), "/proc"); err == nil {
		t.Error("/proc can hold upper directories?")
	}
}

func TestProbe(t *testing.T) {
	if !inChild(t, false) {
		return
	}
	f := Probe(t.Context())
	if f.Kernel == "" {
		t.Error("no kernel")
	}
	if f.UserNS != nil {
		t.Skip(f.UserNS)
	}
	t.Logf("%+v", f)
	if f.PIDNS != nil || f.Overlay != nil {
		t.Logf("this host can do less than others: %+v", f) // which is no fault
	}
}
