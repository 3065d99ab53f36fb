package unpriv

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"virga/internal/inroot"
)

// Options of a mount besides those of mount(8).
const (
	// Optional lets a mount be left out if source or target is missing or the
	// kernel refuses it.
	Optional = "x-virga.optional"
	// Create has a missing mount point made.
	Create = "x-virga.create"
)

// typeLink is the type of a "mount" that is a symbolic link; Source is where it
// leads.
const typeLink = "link"

// BuildMounts are the mounts of a RUN: a /proc of its PID namespace, where the
// kernel allows it (else the host's), the host's /sys, read-only, a small /dev
// of its own, and the host's name resolution.
func BuildMounts() []specs.Mount {
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "nodev", "noexec", Create}},
		{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "ro", Create, Optional}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "mode=755", Create}},
	}
	for _, d := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		mounts = append(mounts, specs.Mount{Destination: "/dev/" + d, Type: "bind", Source: "/dev/" + d, Options: []string{"bind", Create, Optional}})
	}
	return append(mounts,
		specs.Mount{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", Create, Optional}},
		specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "nodev", "mode=1777", Create}},
		specs.Mount{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "nodev", "noexec", Create, Optional}},
		specs.Mount{Destination: "/dev/fd", Type: typeLink, Source: "/proc/self/fd"},
		specs.Mount{Destination: "/dev/stdin", Type: typeLink, Source: "/proc/self/fd/0"},
		specs.Mount{Destination: "/dev/stdout", Type: typeLink, Source: "/proc/self/fd/1"},
		specs.Mount{Destination: "/dev/stderr", Type: typeLink, Source: "/proc/self/fd/2"},
		specs.Mount{Destination: "/dev/ptmx", Type: typeLink, Source: "pts/ptmx"},
		specs.Mount{Destination: "/etc/hosts", Type: "bind", Source: "/etc/hosts", Options: []string{"bind", "ro", Create, Optional}},
		specs.Mount{Destination: "/etc/resolv.conf", Type: "bind", Source: "/etc/resolv.conf", Options: []string{"bind", "ro", Create, Optional}},
	)
}

// RunMounts are the mounts of `virga run`: the host's /dev, /proc and /sys, so
// that devices, MPI and the batch system work, and what the host says of itself.
func RunMounts() []specs.Mount {
	mounts := []specs.Mount{}
	for _, d := range []string{"/dev", "/proc", "/sys"} {
		mounts = append(mounts, specs.Mount{Destination: d, Type: "bind", Source: d, Options: []string{"rbind", Create}})
	}
	for _, f := range []string{"/etc/hosts", "/etc/machine-id", "/etc/resolv.conf"} {
		mounts = append(mounts, specs.Mount{Destination: f, Type: "bind", Source: f, Options: []string{"bind", "ro", Optional}})
	}
	return mounts
}

// Bind is a mount of a host path, which must exist. With create, a missing
// mount point is made.
func Bind(source, target string, readOnly, create bool) (specs.Mount, error) {
	m := specs.Mount{Destination: target, Type: "bind", Source: source, Options: []string{"rbind"}}
	if _, err := os.Stat(source); err != nil {
		return m, &SourceError{source, root(err)}
	}
	if readOnly {
		m.Options = append(m.Options, "ro")
	}
	if create {
		m.Options = append(m.Options, Create)
	}
	return m, nil
}

// SourceError says that what is to be mounted cannot be found on the host.
type SourceError struct {
	Path string
	Err  error
}

func (e *SourceError) Error() string { return fmt.Sprintf("bind %q: %v", e.Path, e.Err) }

func (e *SourceError) Unwrap() error { return e.Err }

// Hint tells the order of the two paths, which are easily swapped.
func (e *SourceError) Hint() string {
	return "the first path of SRC[:DST[:ro]] is the host's, and has to exist; the second one is the image's, and is made if need be"
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

// TargetError says that there is no mount point in the image, or that it is of
// the other kind: only directories can be mounted on directories.
type TargetError struct {
	Path string
	Err  error
}

func (e *TargetError) Error() string {
	switch {
	case errors.Is(e.Err, unix.ENOTDIR):
		return fmt.Sprintf("mount %q: what the image has there is of another kind", e.Path)
	case errors.Is(e.Err, unix.ENOENT):
		return fmt.Sprintf("mount %q: the image has no such mount point", e.Path)
	}
	return fmt.Sprintf("mount %q: the image has no such mount point, and it cannot be made: %v", e.Path, root(e.Err))
}

func (e *TargetError) Unwrap() error { return e.Err }

// Hint says how to get one.
func (e *TargetError) Hint() string {
	if errors.Is(e.Err, unix.ENOTDIR) {
		return "a directory is mounted on a directory, a file on a file, nothing below a file; a path that the image lacks is made"
	}
	return fmt.Sprintf("create %s in the image, for example with RUN mkdir -p, or mount elsewhere", e.Path)
}

// mountSpec is a mount ready to be made.
type mountSpec struct {
	specs.Mount
	flags            uintptr // of mount(2)
	attrs            uint64  // the same for mount_setattr(2)
	data             string  // for the file system
	recursive        bool
	optional, create bool
	dir              bool   // the mount point is a directory
	from             string // of a bind mount: source without links, relative to the host's root
}

// mountFlags are options with their names in both interfaces.
var mountFlags = map[string]struct {
	flag uintptr
	attr uint64
}{
	"ro":     {unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY},
	"nosuid": {unix.MS_NOSUID, unix.MOUNT_ATTR_NOSUID},
	"nodev":  {unix.MS_NODEV, unix.MOUNT_ATTR_NODEV},
	"noexec": {unix.MS_NOEXEC, unix.MOUNT_ATTR_NOEXEC},
}

// parseMount reads the options, and looks at the source of a bind mount. It
// returns nil for an optional one without source.
func parseMount(m specs.Mount) (*mountSpec, error) {
	s := &mountSpec{Mount: m, dir: true}
	if !path.IsAbs(m.Destination) {
		return nil, fmt.Errorf("mount %q: the path is not absolute", m.Destination)
	}
	s.Destination = path.Clean(m.Destination)
	var data []string
	for _, o := range m.Options {
		f, isFlag := mountFlags[o]
		switch {
		case isFlag:
			s.flags |= f.flag
			s.attrs |= f.attr
		case o == "rbind":
			s.recursive = true
		case o == Optional:
			s.optional = true
		case o == Create:
			s.create = true
		case o == "bind" || o == "rw":
		default:
			data = append(data, o)
		}
	}
	s.data = strings.Join(data, ",")
	if m.Type != "bind" && m.Type != "" {
		return s, nil
	}
	s.Type = "bind"
	real, err := filepath.EvalSymlinks(m.Source)
	if err == nil {
		var fi os.FileInfo
		if fi, err = os.Stat(real); err == nil {
			s.dir = fi.IsDir()
		}
	}
	switch {
	case err != nil && s.optional:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("bind %q: %w", m.Source, root(err))
	case !filepath.IsAbs(real):
		return nil, fmt.Errorf("bind %q: BUG: the path is not absolute", m.Source)
	}
	if s.from = real[1:]; s.from == "" {
		s.from = "."
	}
	return s, nil
}

// mountPlan appends mounts to a script, between enterRoot and leaveHost.
type mountPlan struct {
	*launch
	make  func(m *mountSpec) bool // whether the child has to make the mount point
	fresh []string                // where new, empty file systems are
}

func (p *mountPlan) add(mount specs.Mount) error {
	m, err := parseMount(mount)
	if err != nil || m == nil {
		return err
	}
	if m.create && (p.isFresh(m.Destination) || p.make != nil && p.make(m)) {
		p.point(m)
	}
	first := len(p.steps)
	switch m.Type {
	case typeLink:
		p.do("link", unix.SYS_SYMLINKAT, m.Source, unix.AT_FDCWD, m.Destination)
	case "bind":
		p.bind(m)
	case "proc":
		p.do("mount", unix.SYS_MOUNT, m.Source, m.Destination, m.Type, m.flags, m.data).unlessDone(1)
		// Refused where the host's own is hidden in parts.
		p.do("mount", unix.SYS_MOUNT, "proc", m.Destination, nil, unix.MS_BIND|unix.MS_REC, nil)
	default:
		p.do("mount", unix.SYS_MOUNT, m.Source, m.Destination, m.Type, m.flags, m.data)
		p.fresh = append(p.fresh, m.Destination+"/")
	}
	for i := first; i < len(p.steps); i++ {
		if m.optional && p.steps[i].otherwise < 0 {
			p.steps[i].otherwise = int16(len(p.steps) - i - 1)
		}
		p.notes[i].wrap = mountError(m)
	}
	return nil
}

func mountError(m *mountSpec) func(syscall.Errno) error {
	return func(no syscall.Errno) error {
		switch {
		case inroot.IsNotExist(no):
			return &TargetError{m.Destination, no}
		case m.from != "":
			return fmt.Errorf("mount %q on %q: %w", m.Source, m.Destination, no)
		}
		return fmt.Errorf("mount %q: %w", m.Destination, no)
	}
}

// isFresh reports whether name lies in a file system that was empty before.
func (p *mountPlan) isFresh(name string) bool {
	for _, dir := range p.fresh {
		if strings.HasPrefix(name, dir) {
			return true
		}
	}
	return false
}

// holdsFresh reports whether dir is or contains a file system just mounted.
func (p *mountPlan) holdsFresh(dir string) bool {
	for _, f := range p.fresh {
		if strings.HasPrefix(f, dir+"/") {
			return true
		}
	}
	return false
}

// point makes a mount point. What goes wrong shows when it is mounted on.
func (p *mountPlan) point(m *mountSpec) {
	for i, c := range m.Destination {
		if c == '/' && i > 0 && !p.holdsFresh(m.Destination[:i]) {
			p.do("make directory", unix.SYS_MKDIRAT, unix.AT_FDCWD, m.Destination[:i], 0o755).ignore()
		}
	}
	if m.dir {
		p.do("make directory", unix.SYS_MKDIRAT, unix.AT_FDCWD, m.Destination, 0o755).ignore()
		return
	}
	p.do("make file", unix.SYS_MKNODAT, unix.AT_FDCWD, m.Destination, unix.S_IFREG|0o644, 0).ignore()
}

func (p *mountPlan) bind(m *mountSpec) {
	flags := unix.MS_BIND
	if m.recursive {
		flags |= unix.MS_REC
	}
	p.do("mount", unix.SYS_MOUNT, m.from, m.Destination, nil, flags, nil)
	if m.attrs != 0 {
		p.setFlags(m.Destination, m.recursive, m.flags, m.attrs, "/"+m.from)
	}
}

// setFlags adds flags to a mount. Before Linux 5.12 all flags must be named: those
// of the source, which may be locked (mount_namespaces(7)), and submounts keep
// what they have.
func (s *script) setFlags(target string, recursive bool, flags uintptr, attrs uint64, source string) {
	how := 0
	if recursive {
		how = unix.AT_RECURSIVE
	}
	attr := &unix.MountAttr{Attr_set: attrs}
	s.do("set mount flags", unix.SYS_MOUNT_SETATTR, unix.AT_FDCWD, target, how, unsafe.Pointer(attr), int(unsafe.Sizeof(*attr))).unlessDone(1)
	s.do("set mount flags", unix.SYS_MOUNT, nil, target, nil, unix.MS_BIND|unix.MS_REMOUNT|flags|lockedFlags(source), nil)
}

// lockedFlags are the flags of the mount that dir is on.
func lockedFlags(dir string) uintptr {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	const all = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME
	return uintptr(st.Flags) & all // ST_ and MS_ are the same numbers (statvfs(3))
}

// mask hides from real root in a container what would let it change the host,
// as container engines do.
func (p *mountPlan) mask() {
	for _, file := range []string{
		"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	} {
		fi, err := os.Lstat(file)
		switch {
		case err != nil:
		case fi.IsDir():
			p.do("hide "+file, unix.SYS_MOUNT, "tmpfs", file, "tmpfs", unix.MS_RDONLY, nil)
		default:
			p.do("hide "+file, unix.SYS_MOUNT, "dev/null", file, nil, unix.MS_BIND, nil)
		}
	}
	for _, file := range []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"} {
		if _, err := os.Lstat(file); err == nil {
			p.do("protect "+file, unix.SYS_MOUNT, file, file, nil, unix.MS_BIND|unix.MS_REC, nil)
			p.setFlags(file, true, unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY, file)
		}
	}
}
