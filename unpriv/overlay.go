package unpriv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
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
	switch {
	case len(o.Lower) == 0:
		return errors.New("BUG: nothing to mount")
	case len(o.Lower) > maxLower:
		return fmt.Errorf("the kernel stacks at most %d; flatten the image (build --squash)", maxLower)
	case len(o.Lower) == 1 && o.Upper == "":
		return bind(o.Lower[0], target, true)
	}
	err := fsmountOverlay(target, o)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, errNoAppend) {
		return legacyOverlay(target, o)
	}
	return err
}

// errNoAppend says that the kernel lacks "lowerdir+" (before 6.7).
var errNoAppend = errors.New("no lowerdir+")

func fsmountOverlay(target string, o Overlay) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	for i, dir := range o.Lower {
		if err := unix.FsconfigSetString(fs, "lowerdir+", dir); err != nil {
			if i == 0 && errors.Is(err, unix.EINVAL) {
				return errNoAppend
			}
			return explain(fs, err)
		}
	}
	for _, opt := range o.options() {
		if k, v, ok := strings.Cut(opt, "="); ok {
			err = unix.FsconfigSetString(fs, k, v)
		} else {
			err = unix.FsconfigSetFlag(fs, k)
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

// options are the mount options besides the lower directories.
func (o Overlay) options() []string {
	opts := []string{"userxattr"}
	if o.Upper != "" {
		opts = append(opts, "upperdir="+o.Upper, "workdir="+o.Work)
	}
	if o.Volatile && o.Upper != "" {
		opts = append(opts, "volatile")
	}
	return opts
}

// explain adds what the kernel logged in the file system context (fsopen(2)).
func explain(fs int, err error) error {
	buf := make([]byte, 1024)
	n, rerr := unix.Read(fs, buf)
	if rerr != nil || n < 3 {
		return err
	}
	return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(buf[2:n])))
}

// legacyOverlay uses mount(2), whose option string ends at one page: the
// directories are named by numbers, links in a temporary directory which is
// the working directory of the mounting thread.
func legacyOverlay(target string, o Overlay) error {
	target, err := filepath.Abs(target)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(target), ".lower")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	names := make([]string, len(o.Lower))
	for i, dir := range o.Lower {
		names[i] = strconv.Itoa(i)
		if dir, err = filepath.Abs(dir); err != nil {
			return err
		}
		if err := os.Symlink(dir, filepath.Join(tmp, names[i])); err != nil {
			return err
		}
	}
	opts := "lowerdir=" + strings.Join(names, ":")
	if o.Upper != "" {
		for name, dir := range map[string]string{"u": o.Upper, "w": o.Work} {
			if dir, err = filepath.Abs(dir); err != nil {
				return err
			}
			if err := os.Symlink(dir, filepath.Join(tmp, name)); err != nil {
				return err
			}
		}
		opts += ",upperdir=u,workdir=w"
	}
	opts += ",userxattr"
	if o.Volatile && o.Upper != "" {
		opts += ",volatile"
	}
	errc := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread has a working directory of its own and must end
		errc <- mountIn(tmp, target, opts)
	}()
	return <-errc
}

func mountIn(dir, target, opts string) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	return unix.Mount("overlay", target, "overlay", unix.MS_NODEV, opts)
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
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return err
	}
	const keep = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME
	return unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|uintptr(st.Flags)&keep, "")
}

// Unmount takes the topmost mount off target, at once even if it is busy
// elsewhere.
func Unmount(target string) error {
	if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %q: %w", target, err)
	}
	return nil
}
