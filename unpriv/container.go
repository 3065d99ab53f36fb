package unpriv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"virga/internal/inroot"
)

// Container is one program to be run in a root file system.
type Container struct {
	// Root is the directory that becomes "/".
	Root string
	// Process says what runs: Args, Env, Cwd (created nowhere: it must exist),
	// and with Chroot User. The first argument is looked up in Env's PATH.
	Process specs.Process
	// Mounts are made in order, below Root. See BuildMounts.
	Mounts []specs.Mount
	// NoNetwork gives the program a network namespace of its own, with
	// nothing in it.
	NoNetwork bool
	// Chroot says that we are real root: the program gets the capabilities of
	// an ordinary container only.
	Chroot bool
	// Filter is a seccomp program installed right before the exec. With
	// Supervise it has a listener, and Supervise is called with it, on a thread
	// of its own that is inside the container but not under the filter. It must
	// return when no process of the container is left.
	Filter    []unix.SockFilter
	Supervise func(listener int) error
	// Stdout and Stderr take what the program prints; nil is nowhere. Standard
	// input is empty.
	Stdout, Stderr io.Writer
}

// Run executes a container in new mount, PID and IPC namespaces and waits for
// its end. The program is process 1 in there: when it ends, the kernel kills
// all that it left behind, so the tree is quiet when Run returns. The end of
// ctx kills it.
func Run(ctx context.Context, c Container) (Status, error) {
	out, err := newOutput(c.Stdout, c.Stderr)
	if err != nil {
		return Status{}, err
	}
	type result struct {
		Status
		error
	}
	res := make(chan result)
	go func() {
		// Never unlocked: the thread's mount namespace is the container's, and
		// its end kills the program (PR_SET_PDEATHSIG).
		runtime.LockOSThread()
		st, err := run(ctx, &c, out)
		res <- result{st, err}
	}()
	r := <-res
	out.wait()
	if r.error == nil && ctx.Err() != nil {
		return r.Status, ctx.Err()
	}
	return r.Status, r.error
}

// run does the work on the locked thread.
func run(ctx context.Context, c *Container, out *output) (Status, error) {
	defer out.closeWrite()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return Status{}, fmt.Errorf("create mount namespace: %w", err)
	}
	if err := private(); err != nil {
		return Status{}, err
	}
	if err := enterRoot(c.Root, c.Mounts); err != nil {
		return Status{}, err
	}
	args, err := c.prepare()
	if err != nil {
		return Status{}, err
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		return Status{}, fmt.Errorf("open the container's /dev/null: %w", err)
	}
	defer null.Close()
	args.files = [3]int{int(null.Fd()), int(out.files[0].Fd()), int(out.files[1].Fd())}
	ch, err := startChild(args)
	if err != nil {
		return Status{}, err
	}
	out.closeWrite()
	return ch.supervise(ctx, c.Supervise)
}

// prepare looks the program up, inside the container, and turns the process
// into what the raw child needs.
func (c *Container) prepare() (*childArgs, error) {
	p := &c.Process
	if len(p.Args) == 0 {
		return nil, errors.New("BUG: no program")
	}
	prog, err := LookPath(p.Args[0], p.Env, p.Cwd)
	if err != nil {
		return nil, err
	}
	a := &childArgs{newProc: true, setsid: true, flags: unix.CLONE_NEWPID | unix.CLONE_NEWIPC}
	if c.NoNetwork {
		a.flags |= unix.CLONE_NEWNET
	}
	if err := a.program(prog, p); err != nil {
		return nil, err
	}
	if c.Chroot {
		a.caps = containerCapabilities()
		a.setUser(p.User)
	}
	a.filter, a.listen = c.Filter, c.Supervise != nil
	return a, nil
}

// supervise serves the child's filter and waits for its end.
func (ch *child) supervise(ctx context.Context, serve func(int) error) (Status, error) {
	defer ch.close()
	go ch.watch(ctx)
	var served error
	if ch.listener >= 0 {
		if served = serve(ch.listener); served != nil {
			ch.kill()
		}
	}
	execErr := ch.execError()
	st, err := ch.wait()
	switch {
	case execErr != nil:
		return st, execErr
	case served != nil:
		return st, fmt.Errorf("emulate root: %w", served)
	}
	return st, err
}

// enterRoot makes dir the root of the calling thread's mount namespace, with
// mounts below it, and drops the host's tree.
func enterRoot(dir string, mounts []specs.Mount) error {
	if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount root %q: %w", dir, err)
	}
	root, err := inroot.Open(dir) // after the bind: this handle is on the new mount
	if err != nil {
		return err
	}
	defer root.Close()
	for _, m := range mounts {
		if err := mountBelow(root, m); err != nil {
			return fmt.Errorf("mount %q: %w", m.Destination, err)
		}
	}
	return pivot(dir)
}

// pivot is pivot_root(2) without a directory for the old root: it is stacked
// on the new one and detached.
func pivot(dir string) error {
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("enter root %q: %w", dir, err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change root to %q: %w", dir, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the host's root: %w", err)
	}
	return unix.Chdir("/")
}

// ExecError says why a program of the image could not be started.
type ExecError struct {
	Program string
	Err     error
}

func (e *ExecError) Error() string { return fmt.Sprintf("run %q: %v", e.Program, e.Err) }

func (e *ExecError) Unwrap() error { return e.Err }

// Status is 127 for a program that does not exist and 126 for one that cannot
// be executed, as shells have it.
func (e *ExecError) Status() int {
	if errors.Is(e.Err, unix.ENOENT) {
		return 127
	}
	return 126
}

// Hint advises on common causes.
func (e *ExecError) Hint() string {
	switch {
	case errors.Is(e.Err, unix.ENOEXEC):
		return "the program is for another architecture (see virga inspect), or a script without a #! line"
	case errors.Is(e.Err, unix.ENOENT):
		return "is it installed in the image, and the interpreter of its #! line too? PATH is searched in the image"
	case errors.Is(e.Err, unix.EACCES):
		return "is it a file, and executable?"
	}
	return ""
}

// LookPath finds a program as execvp(3) does, in the calling thread's root: a
// name without slash in env's PATH. cwd is where relative paths start.
func LookPath(name string, env []string, cwd string) (string, error) {
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = path.Join("/", cwd, name)
		}
		if err := executable(name); err != nil {
			return "", &ExecError{name, err}
		}
		return name, nil
	}
	search := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			search = v
		}
	}
	err := error(unix.ENOENT)
	for dir := range strings.SplitSeq(search, ":") {
		p := path.Join("/", dir, name)
		switch e := executable(p); e {
		case nil:
			return p, nil
		case unix.EACCES:
			err = e
		}
	}
	return "", &ExecError{name, err}
}

func executable(p string) error {
	var st unix.Stat_t
	if err := unix.Stat(p, &st); err != nil {
		if err == unix.ENOTDIR {
			return unix.ENOENT
		}
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0 {
		return unix.EACCES
	}
	return nil
}

// output connects a program's two streams to writers.
type output struct {
	files [2]*os.File // what the program writes to
	own   [2]bool     // files we made
	wg    sync.WaitGroup
	once  sync.Once
}

func newOutput(stdout, stderr io.Writer) (*output, error) {
	o := &output{}
	for i, w := range []io.Writer{stdout, stderr} {
		if i == 1 && stderr == stdout && o.own[0] {
			o.files[1] = o.files[0]
			break
		}
		switch w := w.(type) {
		case nil:
			f, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
			if err != nil {
				return nil, err
			}
			o.files[i], o.own[i] = f, true
		case *os.File:
			o.files[i] = w
		default:
			r, f, err := os.Pipe()
			if err != nil {
				return nil, err
			}
			o.files[i], o.own[i] = f, true
			o.wg.Add(1)
			go func() {
				defer o.wg.Done()
				defer r.Close()
				io.Copy(w, r) // a writer that fails loses output, not the build
			}()
		}
	}
	return o, nil
}

// closeWrite closes our copies of what the program writes to.
func (o *output) closeWrite() {
	o.once.Do(func() {
		for i, f := range o.files {
			if o.own[i] {
				f.Close()
			}
		}
	})
}

func (o *output) wait() { o.wg.Wait() }
