package unpriv

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// anImage is an Image that runs the helper in dir.
func anImage(dir string, args ...string) Image {
	return Image{
		Lower: []string{dir}, Mounts: RunMounts(),
		Process: specs.Process{
			Args: append([]string{"helper"}, args...), Env: []string{"PATH=/bin"},
			User: specs.User{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())},
		},
	}
}

// needUserNS skips the test where images cannot be run.
func needUserNS(t *testing.T) {
	t.Helper()
	if err := Probe(t.Context()).UserNS; err != nil {
		t.Skip(err)
	}
}

func TestImageIdentity(t *testing.T) {
	if !inChild(t, false) {
		return
	}
	needUserNS(t)
	root := newRoot(t)
	for _, tt := range []struct {
		uid, gid int
		caps     string
	}{
		{os.Getuid(), os.Getgid(), "0000000000000000"},
		{1, 2, "0000000000000000"},
		{0, 0, "000001ffffffffff"},
	} {
		im := anImage(root, "show", "ids", "CapEff", "NoNewPrivs", "SigBlk")
		im.Process.User = specs.User{UID: uint32(tt.uid), GID: uint32(tt.gid)}
		got, status, err := imageOutput(t, im)
		want := fmt.Sprintf("%d %d []\n%s\n1\n0000000000000000\n", tt.uid, tt.gid, tt.caps)
		if tt.uid == 0 { // how many there are depends on the kernel
			_, rest, _ := strings.Cut(got, "\n")
			want = "0 0 []\n" + rest
		}
		if err != nil || status != (Status{}) || withoutOverflow(got) != want {
			t.Errorf("%d:%d: got %q, %v, %v; want %q", tt.uid, tt.gid, got, status, err, want)
		}
	}
	im := anImage(root, "show", "pid", "processes")
	got, _, err := imageOutput(t, im)
	if err != nil || strings.HasPrefix(got, "1\n") || strings.HasSuffix(got, "\n1\n") {
		t.Errorf("the host's processes are not seen: %q, %v", got, err)
	}
}

// withoutOverflow drops supplementary groups that are not mapped.
func withoutOverflow(s string) string { return strings.Replace(s, "[65534]", "[]", 1) }

func TestImageRoot(t *testing.T) {
	if !inChild(t, false) {
		return
	}
	needUserNS(t)
	const readOnly = "helper: open /new: read-only file system\n"
	for _, tt := range []struct {
		name        string
		chain       bool // of two trees
		write, fake bool
		want        string
		stays       bool
	}{
		{name: "read-only", want: readOnly},
		{name: "read-only chain", chain: true, want: readOnly},
		{name: "written", write: true, stays: true},
		{name: "in memory", fake: true},
		{name: "chain in memory", chain: true, fake: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := newRoot(t)
			im := anImage(root, "write", "/new", "x")
			im.Write, im.Fake = tt.write, tt.fake
			if tt.chain {
				top := t.TempDir()
				writeFile(t, top+"/etc/top", "top")
				im.Lower = []string{top, root}
			}
			got, _, err := imageOutput(t, im)
			if err != nil || got != tt.want {
				t.Errorf("write: got %q, %v; want %q", got, err, tt.want)
			}
			if _, err := os.Lstat(root + "/new"); errors.Is(err, fs.ErrNotExist) == tt.stays {
				t.Errorf("what was written: %v", err)
			}
			if tt.chain {
				im.Process.Args = []string{"helper", "cat", "/etc/top"}
				if got, _, err := imageOutput(t, im); err != nil || got != "top" {
					t.Errorf("top: got %q, %v", got, err)
				}
			}
		})
	}
}

func TestImageOfManyTrees(t *testing.T) {
	if !inChild(t, false) {
		return
	}
	needUserNS(t)
	root := newRoot(t)
	for _, n := range []int{5, 127, 499} {
		im := anImage(root, "ls", "/data")
		im.Lower = nil
		base := t.TempDir()
		for i := range n {
			dir := filepath.Join(base, fmt.Sprintf("tree-with-a-name-of-some-length-%03d", i), "fs")
			writeFile(t, fmt.Sprintf("%s/data/%03d", dir, i), "")
			im.Lower = append(im.Lower, dir)
		}
		im.Lower = append(im.Lower, root)
		got, _, err := imageOutput(t, im)
		if err != nil || strings.Count(got, "\n") != n {
			t.Errorf("%d trees: %d files, %v", n, strings.Count(got, "\n"), err)
		}
	}
}

// Mount points that an image lacks are made in memory, and in the image only
// if that is to be written to.
func TestImageMissingMountPoints(t *testing.T) {
	if !inChild(t, false) {
		return
	}
	needUserNS(t)
	root := filepath.Join(t.TempDir(), "root")
	installHelper(t, root)
	src := t.TempDir()
	writeFile(t, src+"/file", "host's")
	before := tree(t, root)
	im := anImage(root, "cat", "/a/b/file")
	m, err := Bind(src, "/a/b", true, true)
	if err != nil {
		t.Fatal(err)
	}
	im.Mounts = append(im.Mounts, m)
	got, _, err := imageOutput(t, im)
	if err != nil || got != "host's" {
		t.Errorf("got %q, %v", got, err)
	}
	im.Process.Args = []string{"helper", "mkdir", "/x"}
	if got, _, err := imageOutput(t, im); err != nil || got != "helper: mkdir /x: read-only file system\n" {
		t.Errorf("the root can be written to: %q, %v", got, err)
	}
	if after := tree(t, root); after != before {
		t.Errorf("the image changed from\n%s\nto\n%s", before, after)
	}
	im.Write = true
	if got, _, err := imageOutput(t, im); err != nil || got != "" {
		t.Errorf("written: got %q, %v", got, err)
	}
	if _, err := os.Lstat(root + "/a/b"); err != nil {
		t.Error(err)
	}
	im.Write = false
	im.Mounts[len(im.Mounts)-1].Options = nil
	im.Mounts[len(im.Mounts)-1].Destination = "/c"
	var target *TargetError
	if _, _, err := imageOutput(t, im); !errors.As(err, &target) || target.Path != "/c" {
		t.Errorf("without Create: %v", err)
	}
}

// Making a mount point must not lead out of an image that is written to.
func TestHostileImageWritten(t *testing.T) {
	if !inChild(t, false) {
		return
	}
	needUserNS(t)
	for _, climb := range []string{"", "../../../../../../../../../.."} {
		root := newRoot(t)
		outside := filepath.Dir(root) + "/outside"
		mkdir(t, outside)
		symlink(t, climb+outside, root+"/data")
		im := anImage(root, "true")
		im.Write = true
		for _, target := range []string{"/data/a/b", "/data/c"} {
			m, err := Bind("/proc/self/status", target, true, true)
			if err != nil {
				t.Fatal(err)
			}
			im.Mounts = append(im.Mounts, m)
		}
		_, status, err := imageOutput(t, im)
		t.Log(status, err)
		if got := tree(t, outside); strings.Count(got, "\n") != 1 {
			t.Errorf("outside has\n%s", got)
		}
	}
}

func TestImageFiles(t *testing.T) {
	if !inChild(t, false) {
		return
	}
	needUserNS(t)
	root := newRoot(t)
	writeFile(t, root+"/etc/passwd", "image's")
	im := anImage(root, "cat", "/etc/passwd")
	im.Files = map[string][]byte{"/etc/passwd": []byte("ours"), "/etc/group": []byte("nowhere to go"), "/etc/hosts": nil}
	if got, _, err := imageOutput(t, im); err != nil || got != "ours" {
		t.Errorf("got %q, %v", got, err)
	}
	if b, err := os.ReadFile(root + "/etc/passwd"); err != nil || string(b) != "image's" {
		t.Errorf("the image's file: %q, %v", b, err)
	}
	im.Process.Args = []string{"helper", "ls", "/sys"}
	if got, _, err := imageOutput(t, im); err != nil || !strings.Contains(got, "kernel\n") {
		t.Errorf("/sys is not the host's: %q, %v", got, err)
	}
}

func TestImageStatus(t *testing.T) {
	if !inChild(t, false) {
		return
	}
	needUserNS(t)
	root := newRoot(t)
	for _, tt := range []struct {
		args []string
		exit int
	}{
		{[]string{"helper", "true"}, 0},
		{[]string{"helper", "exit", "77"}, 77},
		{[]string{"helper", "kill", "9"}, 128 + 9},
		{[]string{"helper", "kill", "15"}, 128 + 15},
		{[]string{"nothing"}, 127},
		{[]string{"/etc/hosts"}, 126},
	} {
		im := anImage(root)
		im.Process.Args = tt.args
		_, status, err := imageOutput(t, im)
		exit := status.Exit()
		var exec *ExecError
		if errors.As(err, &exec) {
			exit = exec.Status()
		} else if err != nil {
			t.Errorf("%q: %v", tt.args, err)
		}
		if exit != tt.exit {
			t.Errorf("%q: exit status %d, want %d", tt.args, exit, tt.exit)
		}
	}
}

// Files that the caller has open are for the program too: MPI launchers and
// shells pass some. What is virga's own is not.
func TestImageInheritsFiles(t *testing.T) {
	if !inChild(t, false) {
		return
	}
	needUserNS(t)
	fd, err := unix.Open("/", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var want []string
	for _, f := range openFiles() {
		n, _ := strconv.Atoi(f)
		if flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			want = append(want, f)
		}
	}
	got, _, err := imageOutput(t, anImage(newRoot(t), "show", "files"))
	if err != nil || got != fmt.Sprintln(want) || !slices.Contains(want, strconv.Itoa(fd)) {
		t.Errorf("got %q, %v; want %v", got, err, want)
	}
}

func TestImagePassesSignals(t *testing.T) {
	if !inChild(t, false) {
		return
	}
	needUserNS(t)
	root := newRoot(t)
	for _, s := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1} {
		if signal.Ignored(s) { // and stays so: nohup(1) started the tests
			continue
		}
		// This process has no terminal: an interrupt comes from nowhere else.
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		im := anImage(root, "wait")
		lines := bufio.NewReader(r)
		heard := make(chan string)
		go func() {
			if line, _ := lines.ReadString('\n'); line == "ready\n" {
				syscall.Kill(os.Getpid(), s)
			}
			rest, _ := io.ReadAll(lines)
			heard <- string(rest)
		}()
		status, err := runWithStdout(t, im, w)
		got := <-heard
		if err != nil || status != (Status{}) || got != s.String()+"\n" {
			t.Errorf("%v: program heard %q; %v, %v", s, got, status, err)
		}
	}
}

func runWithStdout(t *testing.T, im Image, w *os.File) (Status, error) {
	t.Helper()
	saved, err := syscall.Dup(1)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(saved)
	syscall.Dup3(int(w.Fd()), 1, 0)
	w.Close()
	defer func() {
		syscall.Dup3(saved, 1, 0)
		syscall.Close(saved)
	}()
	return RunImage(t.Context(), im)
}

// The program must not outlive a virga that is killed.
func TestImageDiesWithUs(t *testing.T) {
	if os.Getenv(insideVariable) == t.Name()+"/victim" {
		root := newRoot(t)
		RunImage(t.Context(), anImage(root, "wait"))
		return
	}
	if !inChild(t, false) {
		return
	}
	needUserNS(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	victim := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	victim.Env = append(os.Environ(), insideVariable+"="+t.Name()+"/victim", "TMPDIR="+t.TempDir()) // it cannot clean up
	victim.Stdout = w
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	lines := bufio.NewReader(r)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("victim says %q, %v", line, err)
	}
	victim.Process.Kill()
	victim.Wait()
	end := make(chan error, 1)
	go func() {
		_, err := lines.ReadByte() // end of file when the last holder of the pipe is gone
		end <- err
	}()
	select {
	case err := <-end:
		if err != io.EOF {
			t.Errorf("after the kill: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the program lives on")
	}
}
