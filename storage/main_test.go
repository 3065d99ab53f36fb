package storage

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"virga/fakeroot"
	"virga/image"
)

// The test binary plays other processes: with this variable set it calls the
// role of that name instead of the tests.
const roleVar = "VIRGA_STORAGE_TEST_ROLE"

func TestMain(m *testing.M) {
	roles := map[string]func(args []string) error{
		"create": createRole, "hold": holdRole, "work": workRole, "remove": removeRole, "stress": stressRole,
		"full": fullRole, "user": userRole,
	}
	name := os.Getenv(roleVar)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := roles[name](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child prepares a process that plays a role.
func child(t testing.TB, role string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVar+"="+role)
	cmd.Stderr = os.Stderr
	cmd.Dir = t.TempDir()
	return cmd
}

// unprivileged makes a child run as an ordinary user, who owns dir. The
// binary is opened here, because the go command's directories are private.
func unprivileged(t testing.TB, cmd *exec.Cmd, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exe.Close() })
	const nobody = 65534
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{exe}
	cmd.Path = "/proc/self/fd/3"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// startUntil starts a child and waits for a line of its output.
func startUntil(t testing.TB, cmd *exec.Cmd, line string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		if sc.Text() == line {
			return
		}
	}
	t.Fatalf("child ended without saying %q", line)
}

func openTest(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(context.Background(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// openAs opens dir as another process, machine or boot; nothing is swept.
func openAs(t testing.TB, dir string, o owner) *Store {
	t.Helper()
	s := must(open(context.Background(), dir, Options{}))(t)
	s.me = func() owner { return o }
	t.Cleanup(func() { s.Close() })
	return s
}

func newTest(t testing.TB) *Store {
	t.Helper()
	return openTest(t, filepath.Join(t.TempDir(), "storage"))
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// addTree commits a tree with one file holding content.
func addTree(s *Store, id TreeID, content string) (*Tree, error) {
	ctx := context.Background()
	w, err := s.NewWork(ctx)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	dir, err := w.Sub("fs")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(dir+"/file", []byte(content), 0o600); err != nil {
		return nil, err
	}
	return s.CommitTree(ctx, dir, Tree{ID: id, Base: len(id) == 64}, fakeroot.Table{"file": {UID: 7}})
}

// addImage stores an image of one new tree whose configuration is content.
func addImage(s *Store, ref, content string) (*Image, error) {
	ctx := context.Background()
	tree, err := addTree(s, BaseID([]digest.Digest{digest.FromString(content)}, ""), content)
	if err != nil {
		return nil, err
	}
	id, err := s.AddBlob(ctx, []byte(content))
	if err != nil {
		return nil, err
	}
	r, err := image.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	img := Image{Ref: r.String(), ID: id, Chain: []TreeID{tree.ID}, Platform: image.Host()}
	return &img, s.PutImage(ctx, img)
}

func ref(t testing.TB, s string) image.Reference {
	t.Helper()
	return must(image.ParseReference(s))(t)
}

// checkClean fails the test for everything that Check finds.
func checkClean(t testing.TB, s *Store) {
	t.Helper()
	for _, p := range must(s.Check(context.Background(), CheckOptions{}))(t) {
		t.Errorf("check: %s", p)
	}
}

// inTmp lists what is in tmp/.
func inTmp(t testing.TB, s *Store) string {
	t.Helper()
	var names []string
	for _, e := range must(os.ReadDir(s.path(tmpDir)))(t) {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}
