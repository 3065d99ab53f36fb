package unpriv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Overlay is a stack of directories seen as one (the kernel's
// Documentation/filesystems/overlayfs.rst).
type Overlay struct {
	Lower []string // top first, at most 500
	// Upper takes all changes and Work is overlayfs' own; they are on one file
	// system. Without them the mount is read-only.
	Upper, Work string
	// Volatile skips syncing: after a crash the upper directory is worthless.
	Volatile bool
}

// maxLower is the kernel's OVL_MAX_STACK.
const maxLower = 500

// MountOverlay mounts o on target, in the mount namespace of the caller, which
// must not be the host's (see Enter). It always uses user.overlay.* attributes:
// without "userxattr" an unprivileged mount succeeds and then cannot replace
// directories.
func MountOverlay(target string, o Overlay) error {
	err := mountOverlay(target, o)
	if err != nil {
		return fmt.Errorf("mount overlay of %d directories: %w", len(o.Lower), err)
	}
	return nil
}

func mountOverlay(target string, o Overlay) error {
	if len(o.Lower) == 1 && o.Upper == "" {
		return bind(o.Lower[0], target, true)
	}
	if err := o.check(); err != nil {
		return err
	}
	o, release, err := o.short()
	if err != nil {
		return err
	}
	defer release()
	err = o.fsmount(target)
	if errors.Is(err, errOld) {
		return o.mount(target)
	}
	return err
}

func (o Overlay) check() error {
	switch {
	case len(o.Lower) == 0:
		return errors.New("BUG: nothing to mount")
	case len(o.Lower) > maxLower:
		return fmt.Errorf("the kernel stacks at most %d; flatten the image (build --squash)", maxLower)
	}
	return nil
}

// maxString is what fsconfig(2) takes for one string.
const maxString = 255

// short replaces paths that are too long for fsconfig(2), or that overlayfs would
// read otherwise because of a backslash, by those of open handles.
func (o Overlay) short() (_ Overlay, release func(), err error) {
	var fds []int
	release = func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	handle := func(dir string) string {
		if err != nil || len(dir) <= maxString && !strings.Contains(dir, `\`) {
			return dir
		}
		fd, oerr := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if oerr != nil {
			err = &os.PathError{Op: "open", Path: dir, Err: oerr}
			return dir
		}
		fds = append(fds, fd)
		return fdPath(fd)
	}
	o.Lower = slices.Clone(o.Lower)
	for i, dir := range o.Lower {
		o.Lower[i] = handle(dir)
	}
	o.Upper, o.Work = handle(o.Upper), handle(o.Work)
	if err != nil {
		release()
	}
	return o, release, err
}

// errOld says that the kernel cannot take the lower directories one by one: it
// has no fsopen(2) (before 5.2, or forbidden) or no "lowerdir+" (before 6.7).
var errOld = errors.New("no lowerdir+")

func (o Overlay) fsmount(target string) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return errOld
	}
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	for i, dir := range o.Lower {
		if err := unix.FsconfigSetString(fs, "lowerdir+", dir); err != nil {
			if i == 0 && errors.Is(err, unix.EINVAL) {
				return errOld
			}
			return explain(fs, err)
		}
	}
	for _, opt := range o.options() {
		if opt.value == "" {
			err = unix.FsconfigSetFlag(fs, opt.name)
		} else {
			err = unix.FsconfigSetString(fs, opt.name, opt.value)
		}
		if err != nil {
			return explain(fs, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return explain(fs, err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return explain(fs, err)
	}
	defer unix.Close(mnt)
	return unix.MoveMount(mnt, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

type option struct{ name, value string }

// options are the mount options besides the lower directories.
func (o Overlay) options() []option {
	opts := []option{{"userxattr", ""}}
	if o.Upper != "" {
		opts = append(opts, option{"upperdir", o.Upper}, option{"workdir", o.Work})
		if o.Volatile {
			opts = append(opts, option{"volatile", ""})
		}
	}
	return opts
}

// data is the option string of mount(2), which must be shorter than a page.
func (o Overlay) data() string {
	escape := strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`)
	var b strings.Builder
	for i, dir := range o.Lower {
		b.WriteString([]string{"lowerdir=", ":"}[min(i, 1)])
		b.WriteString(escape.Replace(dir))
	}
	for _, opt := range o.options() {
		b.WriteString("," + opt.name)
		if opt.value != "" {
			b.WriteString("=" + escape.Replace(opt.value))
		}
	}
	return b.String()
}

const maxData = 4000

// explain adds what the kernel logged in the file system context (fsopen(2)).
func explain(fs int, err error) error {
	buf := make([]byte, 1024)
	n, rerr := unix.Read(fs, buf)
	if rerr != nil || n < 3 {
		return err
	}
	return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(buf[2:n])))
}

// mount uses mount(2). If the option string gets too long, the directories are
// named by the numbers of handles, in /proc/self/fd as the working directory.
func (o Overlay) mount(target string) error {
	if data := o.data(); len(data) < maxData {
		return unix.Mount("overlay", target, "overlay", unix.MS_NODEV, data)
	}
	target, err := filepath.Abs(target)
	if err != nil {
		return err
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	number := func(dir string) string {
		if dir == "" || err != nil {
			return dir
		}
		var f *os.File
		if f, err = os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
			return dir
		}
		files = append(files, f)
		return strconv.Itoa(int(f.Fd()))
	}
	o.Lower = slices.Clone(o.Lower)
	for i, dir := range o.Lower {
		o.Lower[i] = number(dir)
	}
	o.Upper, o.Work = number(o.Upper), number(o.Work)
	if err != nil {
		return err
	}
	done := make(chan error)
	onOwnThread(func() { done <- mountIn("/proc/self/fd", target, o.data()) })
	return <-done
}

func mountIn(dir, target, data string) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	return unix.Mount("overlay", target, "overlay", unix.MS_NODEV, data)
}

// overlay has the child mount o on target.
func (l *launch) overlay(target string, o Overlay) error {
	if err := o.check(); err != nil {
		return err
	}
	what := fmt.Sprintf("mount overlay of %d directories", len(o.Lower))
	if data := o.data(); len(data) < maxData {
		l.do(what, unix.SYS_MOUNT, "overlay", target, "overlay", unix.MS_NODEV, data)
		return nil
	}
	fs, mnt := l.newSlot(), l.newSlot()
	l.do(what, unix.SYS_FSOPEN, "overlay", unix.FSOPEN_CLOEXEC).into(fs)
	for _, dir := range o.Lower {
		l.do(what, unix.SYS_FSCONFIG, fs, unix.FSCONFIG_SET_STRING, "lowerdir+", dir, 0)
	}
	for _, opt := range o.options() {
		if opt.value == "" {
			l.do(what, unix.SYS_FSCONFIG, fs, unix.FSCONFIG_SET_FLAG, opt.name, nil, 0)
		} else {
			l.do(what, unix.SYS_FSCONFIG, fs, unix.FSCONFIG_SET_STRING, opt.name, opt.value, 0)
		}
	}
	l.do(what, unix.SYS_FSCONFIG, fs, unix.FSCONFIG_CMD_CREATE, nil, nil, 0)
	l.do(what, unix.SYS_FSMOUNT, fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NODEV).into(mnt)
	l.do(what, unix.SYS_MOVE_MOUNT, mnt, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	l.do(what, unix.SYS_CLOSE, mnt)
	l.do(what, unix.SYS_CLOSE, fs)
	l.slots -= 2
	return nil
}

// bind mounts src on target, with what is mounted below it.
func bind(src, target string, readOnly bool) error {
	if err := unix.Mount(src, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if !readOnly {
		return nil
	}
	return makeReadOnly(target)
}

// makeReadOnly keeps the flags that the host has locked (nosuid and the like):
// clearing one would be refused (mount_namespaces(7)).
func makeReadOnly(target string) error {
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	err := unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, attr)
	if !errors.Is(err, unix.ENOSYS) {
		return err
	}
	return unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|lockedFlags(target), "")
}

// Unmount takes the topmost mount off target, at once even if it is busy
// elsewhere.
func Unmount(target string) error {
	if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %q: %w", target, err)
	}
	return nil
}
