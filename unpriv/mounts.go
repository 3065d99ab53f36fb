package unpriv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"virga/internal/inroot"
)

// Optional, among the options of a mount, lets it be left out where source or
// target is missing.
const Optional = "x-virga.optional"

// BuildMounts are the mounts of a RUN: a small /dev of its own, the host's
// /sys read-only, and the host's name resolution. /proc is the host's until
// the program's own is mounted over it.
func BuildMounts() []specs.Mount {
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "bind", Source: "/proc", Options: []string{"rbind"}},
		{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "ro", Optional}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "mode=755"}},
	}
	for _, d := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		mounts = append(mounts, specs.Mount{Destination: "/dev/" + d, Type: "bind", Source: "/dev/" + d, Options: []string{"create-file"}})
	}
	return append(mounts,
		specs.Mount{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"create-dir", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", Optional}},
		specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "tmpfs", Options: []string{"create-dir", "nosuid", "nodev", "mode=1777"}},
		specs.Mount{Destination: "/dev/fd", Type: "link", Source: "/proc/self/fd"},
		specs.Mount{Destination: "/dev/stdin", Type: "link", Source: "/proc/self/fd/0"},
		specs.Mount{Destination: "/dev/stdout", Type: "link", Source: "/proc/self/fd/1"},
		specs.Mount{Destination: "/dev/stderr", Type: "link", Source: "/proc/self/fd/2"},
		specs.Mount{Destination: "/dev/ptmx", Type: "link", Source: "pts/ptmx"},
		specs.Mount{Destination: "/etc/hosts", Type: "bind", Source: "/etc/hosts", Options: []string{"ro", Optional}},
		specs.Mount{Destination: "/etc/resolv.conf", Type: "bind", Source: "/etc/resolv.conf", Options: []string{"ro", Optional}},
	)
}

// RunMounts are the mounts of `virga run`: the host's /dev, /proc and /sys, so
// that devices, MPI and the batch system work, and what the host says of itself.
func RunMounts() []specs.Mount {
	mounts := []specs.Mount{}
	for _, d := range []string{"/dev", "/proc", "/sys"} {
		mounts = append(mounts, specs.Mount{Destination: d, Type: "bind", Source: d, Options: []string{"rbind", Optional}})
	}
	for _, f := range []string{"/etc/hosts", "/etc/machine-id", "/etc/resolv.conf"} {
		mounts = append(mounts, specs.Mount{Destination: f, Type: "bind", Source: f, Options: []string{"ro", Optional}})
	}
	return mounts
}

// Skeleton fills dir with the mount points of BuildMounts, to be the lowest
// layer of an overlay: images that lack them can be run, and do not get them.
func Skeleton(dir string) error {
	for _, d := range []string{"proc", "sys", "dev", "etc", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return fmt.Errorf("make mount points: %w", err)
		}
	}
	if err := unix.Chmod(filepath.Join(dir, "tmp"), 0o1777); err != nil {
		return fmt.Errorf("make mount points: %w", err)
	}
	for _, f := range []string{"etc/hosts", "etc/resolv.conf"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
			return fmt.Errorf("make mount points: %w", err)
		}
	}
	return nil
}

// mountBelow makes one mount below root. The target is resolved inside root, by
// handles: a link in a hostile image leads nowhere else.
func mountBelow(root *inroot.Root, m specs.Mount) error {
	flags, data, opts := mountOptions(m.Options)
	if m.Type == "bind" && opts[Optional] {
		if _, err := os.Stat(m.Source); err != nil {
			return nil
		}
	}
	var mkdir inroot.Mkdir
	if opts["create-dir"] || opts["create-file"] {
		mkdir = func(p *inroot.Place) error { return unix.Mkdirat(p.Dir, p.Base, 0o755) }
	}
	p, err := root.Resolve(m.Destination, m.Type != "link", mkdir)
	if err != nil {
		if opts[Optional] && inroot.IsNotExist(err) {
			return nil
		}
		return &TargetError{m.Destination, err}
	}
	defer p.Close()
	if m.Type == "link" {
		return unix.Symlinkat(m.Source, p.Dir, p.Base)
	}
	if err := create(p, opts); err != nil {
		return err
	}
	fd, err := unix.Openat(p.Dir, p.Base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		if opts[Optional] && err == unix.ENOENT {
			return nil
		}
		return &TargetError{m.Destination, err}
	}
	defer unix.Close(fd)
	err = mountOn(fd, m, flags, data, opts["ro"])
	if err != nil && opts[Optional] {
		return nil
	}
	return err
}

// TargetError says that a mount point does not exist in the image.
type TargetError struct {
	Path string
	Err  error
}

func (e *TargetError) Error() string {
	if inroot.IsNotExist(e.Err) {
		return "the image has no such mount point"
	}
	return e.Err.Error()
}

func (e *TargetError) Unwrap() error { return e.Err }

// Hint says how to get one.
func (e *TargetError) Hint() string {
	return fmt.Sprintf("create %s in the image, for example with RUN mkdir -p, or mount elsewhere", e.Path)
}

func mountOn(fd int, m specs.Mount, flags uintptr, data string, readOnly bool) error {
	target := fmt.Sprintf("/proc/self/fd/%d", fd)
	if m.Type != "bind" {
		return unix.Mount(m.Source, target, m.Type, flags, data)
	}
	if err := unix.Mount(m.Source, target, "", unix.MS_BIND|flags, ""); err != nil {
		return fmt.Errorf("bind %q: %w", m.Source, err)
	}
	if !readOnly {
		return nil
	}
	// fd is still on what lies below; the new mount is found by its path again.
	top, err := os.Readlink(target)
	if err != nil {
		return err
	}
	return makeReadOnly(top)
}

// mountOptions splits options into flags of mount(2), data for the file
// system, and words of our own.
func mountOptions(options []string) (flags uintptr, data string, own map[string]bool) {
	own = map[string]bool{}
	var rest []string
	for _, o := range options {
		switch o {
		case "rbind":
			flags |= unix.MS_REC
		case "nosuid":
			flags |= unix.MS_NOSUID
		case "nodev":
			flags |= unix.MS_NODEV
		case "noexec":
			flags |= unix.MS_NOEXEC
		case "ro", "create-dir", "create-file", Optional:
			own[o] = true
		case "bind", "rw":
		default:
			rest = append(rest, o)
		}
	}
	return flags, strings.Join(rest, ","), own
}

// create makes a missing mount point.
func create(p *inroot.Place, opts map[string]bool) error {
	if _, err := p.Stat(); err == nil || !errors.Is(err, unix.ENOENT) {
		return nil
	}
	switch {
	case opts["create-dir"]:
		return unix.Mkdirat(p.Dir, p.Base, 0o755)
	case opts["create-file"]:
		fd, err := unix.Openat(p.Dir, p.Base, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
	return nil
}

// Bind is a mount of a host path. A missing mount point is created if the
// root is writable.
func Bind(source, target string, readOnly, writable bool) (specs.Mount, error) {
	m := specs.Mount{Destination: target, Type: "bind", Source: source, Options: []string{"rbind"}}
	fi, err := os.Stat(source)
	if err != nil {
		return m, fmt.Errorf("bind %q: %w", source, root(err))
	}
	if readOnly {
		m.Options = append(m.Options, "ro")
	}
	if writable && fi.IsDir() {
		m.Options = append(m.Options, "create-dir")
	} else if writable {
		m.Options = append(m.Options, "create-file")
	}
	return m, nil
}
