package unpriv

import (
	"errors"
	"fmt"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"virga/internal/inroot"
)

// points are mount points that were made for a run, to be removed after it so
// that they do not become part of a layer.
type points struct {
	root *inroot.Root
	made []point // in order of making
}

type point struct {
	path   string // below the root
	parent string
	ino    uint64
	dir    bool
	before unix.Timespec // when the parent was modified, before and
	after  unix.Timespec // with the point in it
}

// makePoints makes the missing mount points of mounts below root. Those inside
// file systems that are mounted first are left to the child.
func makePoints(root string, mounts []specs.Mount) (*points, error) {
	r, err := inroot.Open(root)
	if err != nil {
		return &points{}, fmt.Errorf("open root: %w", err)
	}
	p := &points{root: r}
	var covered []string
	for _, mount := range mounts {
		m, err := parseMount(mount)
		if err != nil {
			return p, err
		}
		if m == nil || !m.create || below(m.Destination, covered) {
			continue
		}
		if err := p.make(m); err != nil && !m.optional {
			return p, &TargetError{m.Destination, err}
		}
		covered = append(covered, m.Destination+"/")
	}
	return p, nil
}

func below(name string, dirs []string) bool {
	for _, d := range dirs {
		if strings.HasPrefix(name, d) {
			return true
		}
	}
	return false
}

func (p *points) make(m *mountSpec) error {
	mkdir := func(at *inroot.Place) error { return p.create(at, true) }
	at, err := p.root.Resolve(m.Destination, true, mkdir)
	if err != nil {
		return err
	}
	defer at.Close()
	if _, err := at.Stat(); !errors.Is(err, unix.ENOENT) {
		return err
	}
	return p.create(at, m.dir)
}

// create makes an empty directory or file and remembers it.
func (p *points) create(at *inroot.Place, dir bool) error {
	pt := point{path: at.Path, parent: path.Dir(at.Path), dir: dir}
	var st unix.Stat_t
	if err := unix.Fstat(at.Dir, &st); err != nil {
		return err
	}
	pt.before = st.Mtim
	var err error
	if dir {
		err = unix.Mkdirat(at.Dir, at.Base, 0o755)
	} else {
		err = unix.Mknodat(at.Dir, at.Base, unix.S_IFREG|0o644, 0)
	}
	if err != nil {
		return err
	}
	if made, err := at.Stat(); err == nil {
		pt.ino = made.Ino
	}
	if err := unix.Fstat(at.Dir, &st); err != nil {
		return err
	}
	pt.after = st.Mtim
	p.made = append(p.made, pt)
	return nil
}

// remove takes away what was made, unless it has been put to use.
func (p *points) remove() error {
	if p.root == nil {
		return nil
	}
	for i := len(p.made) - 1; i >= 0; i-- {
		p.removeOne(&p.made[i])
	}
	return p.root.Close()
}

// removeOne leaves alone what it does not find as it was.
func (p *points) removeOne(pt *point) {
	at, err := p.root.Resolve(pt.path, false, nil)
	if err != nil {
		return
	}
	defer at.Close()
	st, err := at.Stat()
	if err != nil || st.Ino != pt.ino || !pt.dir && st.Size != 0 {
		return
	}
	var parent unix.Stat_t
	if unix.Fstat(at.Dir, &parent) != nil {
		return
	}
	flags := 0
	if pt.dir {
		flags = unix.AT_REMOVEDIR
	}
	if unix.Unlinkat(at.Dir, at.Base, flags) == nil && parent.Mtim == pt.after {
		// Nothing else has changed the directory: its layer need not tell of us.
		unix.UtimesNanoAt(unix.AT_FDCWD, fdPath(at.Dir), []unix.Timespec{pt.before, pt.before}, 0)
	}
}
