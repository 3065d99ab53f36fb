package unpriv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"virga/internal/inroot"
)

// Image is a root file system and the program that RunImage starts in it.
type Image struct {
	Lower []string // trees of the image, top first; one plain directory is a chain of one
	// Write lets changes go to the one directory in Lower; Fake lets them go to
	// memory, to be forgotten. Otherwise the root is read-only.
	Write, Fake bool
	// Files are small files laid over existing ones, by path: passwd, group.
	Files map[string][]byte
	// Mounts are made in order. Missing mount points of those with the option
	// Create are made: in the image with Write, otherwise in memory.
	Mounts []specs.Mount
	// Process says what runs: Args, Env and Cwd, and in User what the caller's ids
	// are called inside.
	Process specs.Process
}

// RunImage runs a program of an image and waits for its end. It is called
// outside of the namespaces of Enter: it makes a user and a mount namespace in
// one step, without executing virga again. The program shares the caller's
// terminal, process group, inherited files and PID namespace, as it would
// without a container. Signals that end or control a program are passed on to
// it, which decides what they mean; therefore the end of ctx, which may have
// the same cause, does nothing once the program runs. The signals stay caught:
// to stop takes longer than all the mounts, and the caller ends as the program
// did.
func RunImage(ctx context.Context, im Image) (Status, error) {
	if len(im.Process.Args) == 0 {
		return Status{}, errors.New("BUG: no program to run")
	}
	if err := ctx.Err(); err != nil {
		return Status{}, err
	}
	l, err := newLaunch(im.Process.Args[0])
	if err != nil {
		return Status{}, err
	}
	l.flags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS
	u := im.Process.User
	l.tie()
	l.mapIDs(int(u.UID), int(u.GID), os.Geteuid(), os.Getegid())
	l.follow()
	if err := im.plan(l); err != nil {
		l.close()
		return Status{}, err
	}
	pass := catchSignals()
	status, err := l.run(context.WithoutCancel(ctx), func(p *child) { pass.to(p.signal) })
	if exec := (*ExecError)(nil); errors.As(err, &exec) {
		exec.look(im.Lower, im.Process.Cwd)
	}
	return status, err
}

// cover is a directory that exists everywhere, which is hidden for a moment by
// a file system in memory.
const cover = "/sys"

// plan writes the script from the mounts of the root to the exec.
func (im *Image) plan(l *launch) error {
	if len(im.Lower) == 0 {
		return errors.New("BUG: image without trees")
	}
	if im.Write && len(im.Lower) > 1 {
		return errors.New("BUG: several trees cannot be written to")
	}
	root := im.Lower[0]
	missing, err := im.missing()
	if err != nil {
		return err
	}
	upper := im.Fake || missing && !im.Write
	memory := upper || len(im.Files) > 0
	if memory {
		l.do("mount a file system in memory", unix.SYS_MOUNT, "tmpfs", cover, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755")
	}
	if err := im.mountRoot(l, root, upper); err != nil {
		return err
	}
	l.enterRoot(root)
	im.layFiles(l)
	if memory { // what is mounted from it keeps it alive
		l.do("leave the file system in memory", unix.SYS_UMOUNT2, cover[1:], unix.MNT_DETACH)
	}
	p := mountPlan{launch: l, make: func(*mountSpec) bool { return upper || im.Write }}
	for _, m := range im.Mounts {
		if err := p.add(m); err != nil {
			return err
		}
	}
	if !im.Fake && !im.Write {
		l.setFlags("/", false, unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY, root)
	}
	l.leaveHost(root)
	l.workDir(im.Process.Cwd)
	l.noNewPrivileges()
	l.resetSignals()
	return l.exec(&im.Process)
}

// mountRoot mounts the image over its own topmost directory.
func (im *Image) mountRoot(l *launch, root string, upper bool) error {
	if len(im.Lower) == 1 && !upper {
		l.do("mount the root", unix.SYS_MOUNT, root, root, nil, unix.MS_BIND|unix.MS_REC, nil)
		return nil
	}
	o := Overlay{Lower: im.Lower}
	if upper {
		o.Upper, o.Work = cover+"/upper", cover+"/work"
		l.do("make directory", unix.SYS_MKDIRAT, unix.AT_FDCWD, o.Upper, 0o755)
		l.do("make directory", unix.SYS_MKDIRAT, unix.AT_FDCWD, o.Work, 0o755)
	}
	return l.overlay(root, o)
}

// layFiles mounts Files over those of the image.
func (im *Image) layFiles(l *launch) {
	for i, name := range slices.Sorted(maps.Keys(im.Files)) {
		file := fmt.Sprintf("%s/file%d", cover[1:], i)
		fd := l.newSlot()
		l.do("write "+name, unix.SYS_OPENAT, unix.AT_FDCWD, file, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644).into(fd)
		text := append([]byte(nil), im.Files[name]...)
		l.do("write "+name, unix.SYS_WRITE, fd, unsafe.Pointer(unsafe.SliceData(text)), len(text))
		l.do("write "+name, unix.SYS_CLOSE, fd)
		l.slots--
		l.do("mount "+name, unix.SYS_MOUNT, file, filepath.Join("/", name), nil, unix.MS_BIND, nil).ignore()
	}
}

// missing reports whether a mount point that may be made is not in the image.
func (im *Image) missing() (bool, error) {
	var roots []*inroot.Root
	defer func() {
		for _, r := range roots {
			r.Close()
		}
	}()
	for _, dir := range im.Lower {
		r, err := inroot.Open(dir)
		if err != nil {
			return false, fmt.Errorf("open image: %w", err)
		}
		roots = append(roots, r)
	}
	var covered []string
	for _, mount := range im.Mounts {
		m, err := parseMount(mount)
		if err != nil {
			return false, err
		}
		if m == nil || !m.create || below(m.Destination, covered) {
			continue
		}
		covered = append(covered, m.Destination+"/")
		if !slices.ContainsFunc(roots, func(r *inroot.Root) bool {
			_, err := r.Stat(m.Destination)
			return err == nil
		}) {
			return true, nil
		}
	}
	return false, nil
}
