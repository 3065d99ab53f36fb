package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"virga/internal/inroot"
)

const (
	// maxMembers bounds what is remembered of a tar. An image has two or
	// three members for each layer.
	maxMembers = 200_000
	// maxHops bounds links that lead to links.
	maxHops = 8
)

// ErrNotImage says that a file or directory holds no image that is known.
var ErrNotImage = errors.New("not an image file")

// files are the members of an image file, by clean relative names.
type files interface {
	// open opens a plain file and tells its size.
	open(name string) (io.ReadCloser, int64, error)
	has(name string) bool
	// names are all names; only old docker-archives need them.
	names() ([]string, error)
	close() error
}

// readAll reads a file of at most limit bytes.
func readAll(f files, name string, limit int64) ([]byte, error) {
	r, size, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > limit {
		return nil, fmt.Errorf("%q: %d bytes, more than the %d that are accepted", name, size, limit)
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("more than the %d bytes that are accepted", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return b, nil
}

// tarFiles is an index of an uncompressed tar.
type tarFiles struct {
	r       io.ReaderAt
	members map[string]member
}

// member is a file at a place in the tar, or a link to another member.
type member struct {
	off, size int64
	link      string // clean; of a symbolic or hard link
	bad       string // why it cannot be read
}

// openTar reads the headers of a tar.
func openTar(r io.ReaderAt, size int64) (*tarFiles, error) {
	t := &tarFiles{r: r, members: map[string]member{}}
	sec := io.NewSectionReader(r, 0, size)
	tr := tar.NewReader(sec)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return nil, tarError(err, n)
		}
		if n == maxMembers {
			return nil, fmt.Errorf("%w: more than %d members", ErrNotImage, maxMembers)
		}
		off, err := sec.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		if err := t.add(h, off, size); err != nil {
			return nil, err
		}
	}
}

func tarError(err error, n int) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the file ends early")
	case n == 0 && errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("%w: neither a tar nor compressed", ErrNotImage)
	}
	return fmt.Errorf("after member %d: %w", n, err)
}

func (t *tarFiles) add(h *tar.Header, off, size int64) error {
	name := clean(h.Name)
	m := member{off: off, size: h.Size}
	switch h.Typeflag {
	case tar.TypeReg:
		if h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != "" {
			m.bad = "is a sparse file"
		}
		if off+h.Size > size {
			return errors.New("the file ends early")
		}
	case tar.TypeGNUSparse:
		m.bad = "is a sparse file"
	case tar.TypeLink:
		m.link = clean(h.Linkname)
	case tar.TypeSymlink:
		m.link = clean(path.Join(path.Dir(name), h.Linkname))
		if path.IsAbs(h.Linkname) {
			m.bad = "is a link out of the file"
		}
	case tar.TypeDir:
		return nil
	default:
		m.bad = "is not a plain file"
	}
	if leaves(name) || m.link != "" && leaves(m.link) {
		m.bad = "leaves the file"
	}
	if have, ok := t.members[name]; ok && (have.link != m.link || m.link == "") {
		m.bad = "is there twice"
	}
	t.members[name] = m
	return nil
}

// clean is a member's name in the one spelling that is looked up.
func clean(name string) string { return path.Clean(strings.TrimLeft(name, "/")) }

func leaves(name string) bool { return name == ".." || strings.HasPrefix(name, "../") }

func (t *tarFiles) open(name string) (io.ReadCloser, int64, error) {
	at := clean(name)
	for range maxHops {
		m, ok := t.members[at]
		switch {
		case !ok:
			return nil, 0, fmt.Errorf("%q: %w", name, errMissing)
		case m.bad != "":
			return nil, 0, fmt.Errorf("member %q %s", at, m.bad)
		case m.link == "":
			return io.NopCloser(io.NewSectionReader(t.r, m.off, m.size)), m.size, nil
		}
		at = m.link
	}
	return nil, 0, fmt.Errorf("member %q: its links go in circles", name)
}

var errMissing = errors.New("missing in the file")

func (t *tarFiles) has(name string) bool {
	_, ok := t.members[name]
	return ok
}

func (t *tarFiles) names() ([]string, error) {
	all := make([]string, 0, len(t.members))
	for n := range t.members {
		all = append(all, n)
	}
	return all, nil
}

func (t *tarFiles) close() error { return nil }

// dirFiles are the files of a directory; links are followed inside of it.
type dirFiles struct{ root *inroot.Root }

func (d dirFiles) open(name string) (io.ReadCloser, int64, error) {
	if leaves(clean(name)) {
		return nil, 0, fmt.Errorf("path %q leaves the directory", name)
	}
	// Without O_NONBLOCK a FIFO would be waited for.
	f, err := d.root.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if inroot.IsNotExist(err) {
		return nil, 0, fmt.Errorf("%q: %w", name, errMissing)
	}
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%q is not a plain file", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

func (d dirFiles) has(name string) bool {
	_, err := d.root.Lstat(name)
	return err == nil
}

// names are those that an unpacked docker-archive of old has.
func (d dirFiles) names() ([]string, error) {
	var all []string
	err := fs.WalkDir(os.DirFS(d.root.Name()), ".", func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case len(all) == maxMembers:
			return fmt.Errorf("%w: more than %d files", ErrNotImage, maxMembers)
		case !e.IsDir():
			all = append(all, p)
		case strings.Count(p, "/") > 1:
			return fs.SkipDir
		}
		return nil
	})
	return all, err
}

func (d dirFiles) close() error { return d.root.Close() }
