package fakeroot

import (
	"bytes"
	"context"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// exec sees execve(2) coming: the program decides whether the process is
// watched from then on, and may be setuid. The kernel does the rest.
func (w *worker) exec(t target) reply {
	id := w.identity()
	l, errno := w.locate(t)
	if errno != 0 {
		return leave
	}
	fd, errno := w.open(&l, 0)
	if errno != 0 {
		return leave // it will fail, or is a magic link, which keeps what there is
	}
	defer unix.Close(fd)
	f, errno := w.examine(fd)
	if errno != 0 || f.mode&unix.S_IFMT != unix.S_IFREG || f.mode&0o111 == 0 {
		return leave
	}
	names := w.programNames(&l, fd)
	n := id.afterExec(w.program(&l, f))
	n.installing = id.installing || installs(names)
	if n != id {
		w.become(n)
	}
	if names[0] == "tar" && id.installing && w.comm() == "dpkg-deb" {
		names[0] = "dpkg-deb" // of a package's control files, which it alone makes
	}
	watched := n.watch(names, &w.s.records.maker)
	w.s.stack.tag(w, watched)
	if w.s.log.Enabled(context.Background(), levelTrace) {
		w.s.log.Log(context.Background(), levelTrace, "program", "pid", w.req.pid, "names", names, "watch", int(watched))
	}
	return leave
}

// program tells what bits and owner execve(2) would look at. A script's own
// setuid bit is ignored by the kernel and by no one else; it is by us too rare.
func (w *worker) program(l *location, f file) program {
	p := program{setuid: f.mode&unix.S_ISUID != 0, setgid: f.mode&(unix.S_ISGID|0o010) == unix.S_ISGID|0o010}
	if p.setuid || p.setgid {
		rec, _ := w.recordOf(l, f)
		p.uid, p.gid = rec.UID, rec.GID
	}
	return p
}

// programNames returns the last components of the path that is executed and,
// for a script, of its interpreter, with "env NAME" resolved.
func (w *worker) programNames(l *location, fd int) []string {
	named := string(l.rest[:len(l.rest)-1])
	names := []string{path.Base(named)}
	var head [256]byte
	file, errno := openat2(unix.AT_FDCWD, append([]byte(handlePath(fd)), 0), &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC})
	if errno != 0 {
		return names
	}
	defer unix.Close(file)
	n, err := unix.Pread(file, head[:], 0)
	if err != nil {
		return names
	}
	return append(names, interpreter(head[:n])...)
}

// interpreter reads a "#!" line.
func interpreter(head []byte) []string {
	line, ok := bytes.CutPrefix(head, []byte("#!"))
	if !ok {
		return nil
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) == 0 {
		return nil
	}
	if path.Base(words[0]) == "env" && len(words) > 1 {
		words = words[1:]
		if words[0] == "-S" && len(words) > 1 {
			words = words[1:]
		}
	}
	return []string{path.Base(words[0])}
}

// stackLimits are the soft limits of the stack size that tell programs apart:
// the larger it is, the lower the kernel puts their libraries.
type stackLimits struct {
	active bool
	by     [watchSees + 1]uint64
	kernel uint64 // what the kernel itself sets for privileged programs
}

const unlimited = ^uint64(0)

func newStackLimits(o Options) stackLimits {
	s := stackLimits{kernel: 8 << 20}
	s.by = [...]uint64{watchNone: 8 << 20, watchMakes: makingStack(measureTop(arches[nativeArch()].top)), watchSees: unlimited}
	if o.Mode != ModeSeccomp || o.Level < LevelFaithful {
		return s
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &l); err != nil || uint64(l.Max) != unlimited {
		return s
	}
	s.active = true
	if uint64(l.Cur) == unlimited {
		s.by[watchNone] = 64 << 20
	} else {
		s.by[watchNone] = uint64(l.Cur)
	}
	return s
}

// tag sets the limit for the program about to be executed. A limit that the
// program has chosen itself is left alone: some execute themselves again until
// they see theirs.
func (s *stackLimits) tag(w *worker, level watch) {
	if !s.active {
		return
	}
	var l rlimit
	if prlimit(w.req.pid, unix.RLIMIT_STACK, nil, &l) != 0 || l.hard != unlimited {
		return
	}
	if l.soft != s.kernel && !slices.Contains(s.by[:], l.soft) {
		return
	}
	if want := s.by[level]; l.soft != want && w.alive() {
		l.soft = want
		prlimit(w.req.pid, unix.RLIMIT_STACK, &l, nil)
	}
}
