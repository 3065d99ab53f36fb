package build

import (
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
	"virga/layer"
)

// A directory that a RUN removed and made again is opaque in the upper
// directory of an overlay: it hides all below. Overlayfs also marks new
// directories that hide nothing, depending on how they came about, and the
// mark needs extended attributes of the file system. So trees have none:
// instead, what an opaque directory hides is marked as deleted name by name.
// That is what is found where files are copied, too, and gives the same layer.

const opaqueXattr = "user.overlay.opaque"

// stack is directories seen as one, top first.
type stack []string

// enter is the subdirectory base of the stack; empty if base is none in it.
func (s stack) enter(base string) stack {
	var out stack
	for _, dir := range s {
		var st unix.Stat_t
		name := dir + "/" + base
		if unix.Lstat(name, &st) != nil {
			continue
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			break
		}
		out = append(out, name)
	}
	return out
}

// names lists what is in the stack.
func (s stack) names() ([]string, error) {
	var out []string
	seen := map[string]bool{}
	for _, dir := range s {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if seen[e.Name()] {
				continue
			}
			seen[e.Name()] = true
			var st unix.Stat_t
			if e.Type()&fs.ModeCharDevice != 0 && unix.Lstat(dir+"/"+e.Name(), &st) == nil && isWhiteout(&st) {
				continue
			}
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// hidden returns the lower directories that the upper one open as fd covers
// whole, and takes its mark away; parent is what the directory above covers.
func (c *capture) hidden(fd int, name string, parent stack) (stack, error) {
	if c.lowers == nil {
		return nil, nil
	}
	switch err := unix.Fremovexattr(fd, opaqueXattr); err {
	case nil:
	case unix.ENODATA:
		return parent.enter(path.Base(name)), nil
	default:
		return nil, err
	}
	s := stack(c.lowers)
	for base := range strings.SplitSeq(name, "/") {
		s = s.enter(base)
	}
	return s, nil
}

// uncover marks as deleted what the directory open as fd, which has names,
// hides.
func (c *capture) uncover(fd int, name string, names []string, hides stack) error {
	if len(hides) == 0 {
		return nil
	}
	below, err := hides.names()
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	have := make(map[string]bool, len(names))
	for _, n := range names {
		have[n] = true
	}
	for _, n := range below {
		if have[n] {
			continue
		}
		if err := layer.MarkGone(fd, n); err != nil {
			return err
		}
		c.n++
		c.out[path.Join(name, n)] = fakeroot.Whiteout
	}
	ts := []unix.Timespec{st.Mtim, st.Mtim}
	return unix.UtimesNanoAt(fd, ".", ts, 0)
}
