package unpriv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Container is one program to be run in a root file system, as RUN does.
type Container struct {
	// Root is the directory that becomes "/".
	Root string
	// Process says what runs: Args, Env, Cwd (which must exist) and User. The
	// first argument is looked up in Env's PATH. Other fields are not used:
	// capabilities are what Chroot says, and privilege is never gained.
	//
	// A User other than root is real with Chroot. Without it there are no other
	// ids to change to: with Supervise the program runs as root and is told
	// otherwise, without it it runs in a further user namespace, where our id has the
	// wanted number.
	Process specs.Process
	// Mounts are made in order, below Root. Missing mount points of those with
	// the option Create are made for the time of the run. See BuildMounts.
	Mounts []specs.Mount
	// Hostname, if not empty, is the name that the program sees.
	Hostname string
	// NoNetwork gives the program a network namespace of its own, with
	// nothing but the loopback interface.
	NoNetwork bool
	// Chroot says that we are real root: the program gets the capabilities of
	// an ordinary container only.
	Chroot bool
	// Filter is a seccomp program installed right before the exec. With
	// Supervise it has a listener, and Supervise is called with it, on a thread
	// of its own that is inside the container but not under the filter, before
	// the program starts. It must return when no process of the container is left.
	// SelfTest, if not nil, is a call that succeeds only under Filter; if it fails,
	// the program is not started.
	Filter    []unix.SockFilter
	Supervise func(listener int) error
	SelfTest  *Call
	// Stdin is what the program reads; nil is nothing. With it the program stays
	// in the caller's session, whose terminal it may use.
	Stdin *os.File
	// Stdout and Stderr take what the program prints; nil is nowhere.
	Stdout, Stderr io.Writer
	// ReadOnly has the program see a root that it cannot change.
	ReadOnly bool
	// PassSignals has signals passed on to the program, which decides what they
	// mean; the end of ctx, which may have the same cause, then does nothing.
	PassSignals bool
}

// Call is a system call.
type Call struct {
	Nr   uintptr
	Args [6]uintptr
}

// Run executes a container in new mount, PID and IPC namespaces and waits for
// its end. It is called in the namespaces of Enter. The program is process 1 in
// there: when it ends, the kernel kills all that it left behind, so the tree is
// quiet and its mounts are gone when Run returns. The end of ctx kills it. Run
// may be called from several goroutines at once.
func Run(ctx context.Context, c Container) (_ Status, err error) {
	if len(c.Process.Args) == 0 {
		return Status{}, errors.New("BUG: no program to run")
	}
	streams, err := newStreams(c.Stdin, c.Stdout, c.Stderr)
	if err != nil {
		return Status{}, err
	}
	defer streams.wait()
	defer streams.close()
	points, err := makePoints(c.Root, c.Mounts)
	defer func() {
		if rerr := points.remove(); err == nil {
			err = rerr
		}
	}()
	if err != nil {
		return Status{}, err
	}
	l, err := newLaunch(c.Process.Args[0])
	if err != nil {
		return Status{}, err
	}
	if err := c.plan(l, streams.files); err != nil {
		l.close()
		return Status{}, err
	}
	started := func(*child) { streams.close() }
	var pass *passing
	if c.PassSignals {
		pass, ctx = catchSignals(), context.WithoutCancel(ctx)
		started = func(p *child) { streams.close(); pass.toInit(p) }
	}
	status, err := l.run(ctx, started)
	if pass != nil {
		pass.stop()
		status = pass.status(status)
	}
	if ctx.Err() != nil {
		return status, context.Cause(ctx)
	}
	if exec := (*ExecError)(nil); errors.As(err, &exec) {
		exec.look([]string{c.Root}, c.Process.Cwd)
	}
	return status, err
}

// plan writes the script of the container's process.
func (c *Container) plan(l *launch, files [3]*os.File) error {
	l.flags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC
	l.tie()
	if err := l.onlyStreams(files); err != nil {
		return fmt.Errorf("start %q: %w", l.name, err)
	}
	if c.Stdin == nil {
		l.do("start a session", unix.SYS_SETSID)
	}
	var mounts, root slot
	if c.supervised() {
		l.supervise = c.Supervise
		mounts = l.open("open the mount namespace", "/proc/self/ns/mnt", unix.O_RDONLY)
	}
	l.do("mount the root", unix.SYS_MOUNT, c.Root, c.Root, nil, unix.MS_BIND|unix.MS_REC, nil)
	l.enterRoot(c.Root)
	if err := c.mounts(l); err != nil {
		return err
	}
	if c.ReadOnly {
		l.setFlags("/", false, unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY, c.Root)
	}
	l.leaveHost(c.Root)
	if c.supervised() {
		root = l.open("open the root", "/", unix.O_PATH|unix.O_DIRECTORY)
	}
	c.separate(l)
	l.workDir(c.Process.Cwd)
	l.do("set umask", unix.SYS_UMASK, umask(c.Process.User))
	c.identity(l)
	l.noNewPrivileges()
	l.resetSignals()
	if len(c.Filter) > 0 {
		l.filter(c.Filter, mounts, root)
		l.selfTest(c.SelfTest)
	}
	return l.exec(&c.Process)
}

func (c *Container) supervised() bool { return len(c.Filter) > 0 && c.Supervise != nil }

// umask is the user's, else Docker's.
func umask(u specs.User) int {
	if u.Umask != nil {
		return int(*u.Umask)
	}
	return 0o022
}

// mounts are made by the child.
func (c *Container) mounts(l *launch) error {
	p := mountPlan{launch: l}
	for _, m := range c.Mounts {
		if err := p.add(m); err != nil {
			return err
		}
	}
	if c.Chroot {
		p.mask()
	}
	return nil
}

// separate gives the container its own network and name.
func (c *Container) separate(l *launch) {
	if c.NoNetwork {
		l.flags |= unix.CLONE_NEWNET
		l.loopback()
	}
	if c.Hostname != "" {
		l.flags |= unix.CLONE_NEWUTS
		l.do("set the host name", unix.SYS_SETHOSTNAME, c.Hostname, len(c.Hostname))
	}
}

// identity takes capabilities away and becomes the user.
func (c *Container) identity(l *launch) {
	u := c.Process.User
	switch {
	case c.Chroot:
		l.bound(containerCapabilities())
		l.keepPermitted(containerCapabilities())
		l.become(u)
	case !c.supervised() && (u.UID != 0 || u.GID != 0):
		l.copyMemory = true // EINVAL otherwise: unshare(2)
		l.do("create a user namespace for the user", unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
		l.mapIDs(int(u.UID), int(u.GID), 0, 0)
	default:
		l.bound(tracelessCapabilities())
		l.keepPermitted(tracelessCapabilities())
	}
}

// become changes real ids. Capabilities go with the change to another user.
func (l *launch) become(u specs.User) {
	groups := make([]uint32, len(u.AdditionalGids)+1)
	copy(groups, u.AdditionalGids)
	l.do("set groups", unix.SYS_SETGROUPS, len(u.AdditionalGids), unsafe.Pointer(&groups[0]))
	l.do("become the group", unix.SYS_SETRESGID, int(u.GID), int(u.GID), int(u.GID))
	l.do("become the user", unix.SYS_SETRESUID, int(u.UID), int(u.UID), int(u.UID))
}
