package layer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace runs the calling test again, in a user and mount namespace of its
// own with a file system of the given kind and options on a temporary directory. It returns that
// directory in the child and "" in the parent, which is then done.
func inNamespace(t *testing.T, kind, options string) string {
	t.Helper()
	const key = "VIRGA_LAYER_TEST_TMPFS"
	if dir := os.Getenv(key); dir != "" {
		if err := unix.Mount(kind, dir, kind, 0, options); err != nil {
			fmt.Printf("SKIP: %s in a user namespace: %v\n", kind, err)
			os.Exit(0)
		}
		return dir
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), key+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "SKIP: ") {
		t.Skip(string(out))
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Skipf("user namespace: %v", err)
	}
	if err != nil {
		t.Errorf("in the namespace: %v\n%s", err, out)
	}
	return ""
}

func TestFullDisk(t *testing.T) {
	dir := inNamespace(t, "tmpfs", "size=1m,nr_inodes=200")
	if dir == "" {
		return
	}
	var many []entry
	for i := range 300 {
		many = append(many, file(fmt.Sprintf("f%d", i), ""))
	}
	for name, es := range map[string][]entry{
		"small files":  {file("a", strings.Repeat("x", 500_000)), file("b", strings.Repeat("x", 500_000)), file("c", strings.Repeat("x", 500_000))},
		"a large file": {file("a", strings.Repeat("x", 3<<20))},
		"inodes":       many,
	} {
		root := filepath.Join(dir, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := Unpack(t.Context(), root, blobs(t, es), Options{})
		if !errors.Is(err, unix.ENOSPC) || strings.Count(err.Error(), "no space left on device") != 1 {
			t.Errorf("%s: error is %v, want ENOSPC, said once", name, err)
		}
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadOnlyDisk(t *testing.T) {
	dir := inNamespace(t, "tmpfs", "ro")
	if dir == "" {
		return
	}
	if _, err := Unpack(t.Context(), dir, blobs(t, []entry{file("a", "")}), Options{}); !errors.Is(err, unix.EROFS) {
		t.Errorf("error is %v, want EROFS", err)
	}
}
