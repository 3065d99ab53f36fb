package fakeroot

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// install puts a program into a container's upper directory.
func (c container) install(t *testing.T, name string, text []byte) {
	t.Helper()
	p := filepath.Join(c.Dir, "upper", name)
	if err := os.WriteFile(p, text, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(p, testUID, testUID); err != nil {
			t.Fatal(err)
		}
	}
}

// Test386: a 32-bit program's calls are recorded and answered as those of
// others are, with ids of 16 and 32 bits.
func Test386(t *testing.T) {
	if nativeArch() != amd64 {
		t.Skip("no 32-bit programs of x86 here")
	}
	base := debian(t)
	program := filepath.Join(t.TempDir(), "calls")
	build := exec.Command("go", "build", "-o", program, "./testdata/calls")
	build.Env = append(os.Environ(), "GOARCH=386", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(program).Run(); errors.Is(err, syscall.ENOEXEC) {
		t.Skip("the kernel runs no 32-bit programs")
	}
	os.Remove("/tmp/a")
	os.Remove("/tmp/b")
	c := newContainer(t, base.dir, base.table, "/calls")
	c.install(t, "calls", text)
	o := c.run(t)
	want := []string{
		"0 33:0:100644:0:4", "0 100000:65535:100644:0:4", "0 100000:7:100644:0:4", "0 0:0:20600:259:0",
		"0", "2 [8 9]", "0 0 65534", "0 [0 100001 0]", "0 0 0 5",
	}
	if got := lines(o.Output); o.Status != 0 || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("status %d, got\n%s\nwant\n%s", o.Status, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for p, want := range map[string]Record{"tmp/a": {UID: 33}, "tmp/b": {UID: 100000, GID: 7}, "tmp/n": {Type: 0o020000, Rdev: 0x103}} {
		if got := o.Table[p]; !got.Equal(want) {
			t.Errorf("%s: recorded %+v, want %+v", p, got, want)
		}
	}
}

// TestStatic: a static program, of whatever C library, is emulated too, also
// one that is named nowhere and forks its own applets.
func TestStatic(t *testing.T) {
	const busybox = "/var/lib/dpkg/info/busybox-static.list"
	if _, err := os.Stat(busybox); err != nil {
		t.Skip("busybox-static is not installed")
	}
	text, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	base := debian(t)
	c := newContainer(t, base.dir, base.table, "/busybox", "sh", "-c",
		`cd /tmp; echo >f; /busybox chown 3:4 f; /busybox stat -c %u:%g f; /busybox su -s /busybox www-data touch f2 2>/dev/null; /busybox setpriv --version >/dev/null 2>&1; /busybox id -u`)
	c.install(t, "busybox", text)
	o := c.run(t)
	if got := strings.Join(lines(o.Output), " "); got != "3:4 0" {
		t.Errorf("status %d, got %q", o.Status, got)
	}
	if got := o.Table["tmp/f"]; got.UID != 3 || got.GID != 4 {
		t.Errorf("recorded %+v", got)
	}
}
