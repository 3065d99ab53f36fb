package layer

import (
	"archive/tar"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
)

// packer turns files into members of an archive.
type packer struct {
	owners fakeroot.Table
	opts   PackOptions
	items  chan *item       // everything, in order
	files  chan *item       // what is to be read ahead
	first  map[inode]string // files with several names: the one that came first
	bufs   *buffers
	gone   map[string][]string // recorded as deleted, by directory: a copy of the tree may lack the marks
}

// item is one member.
type item struct {
	head  *tar.Header
	dir   *handle // of a file with content, else nil
	base  string
	ready chan struct{} // closed when data or err is set; nil for a large file
	data  []byte
	buf   *[]byte
	err   error
}

func newPacker(owners fakeroot.Table, opts PackOptions) *packer {
	return &packer{
		owners: owners,
		opts:   opts,
		items:  make(chan *item, packAhead),
		files:  make(chan *item, packAhead),
		first:  map[inode]string{},
		bufs:   newBuffers(),
		gone:   recordedGone(owners, opts),
	}
}

// recordedGone lists what the table calls deleted, by directory.
func recordedGone(owners fakeroot.Table, opts PackOptions) map[string][]string {
	out := map[string][]string{}
	for path, rec := range owners {
		if opts.Whiteouts && rec.IsWhiteout() {
			dir, base := splitName(path)
			out[dir] = append(out[dir], base)
		}
	}
	return out
}

// walk sends all items below an open directory, and the root itself.
func (p *packer) walk(ctx context.Context, root *handle) error {
	if !p.opts.Whiteouts {
		var st unix.Stat_t
		if err := unix.Fstat(root.fd, &st); err != nil {
			return failed("stat", ".", err)
		}
		head := p.header(".", statMember(&st))
		head.Name = "./"
		if err := p.addXattrs(head, ".", root.fd); err != nil {
			return failed("list attributes", ".", err)
		}
		if err := p.send(ctx, &item{head: head}); err != nil {
			return err
		}
	}
	return p.walkDir(ctx, root)
}

func (p *packer) walkDir(ctx context.Context, dir *handle) error {
	names, err := namesIn(dir.fd, ".")
	if err != nil {
		return failed("list directory", dir.path, err)
	}
	names = append(names, p.gone[dir.path]...)
	slices.Sort(names)
	for _, base := range slices.Compact(names) {
		if err := p.entry(ctx, dir, base); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) send(ctx context.Context, it *item) error {
	select {
	case p.items <- it:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *packer) entry(ctx context.Context, dir *handle, base string) error {
	path := join(dir.path, base)
	st, err := statAt(dir.fd, base)
	if err == unix.ENOENT && p.opts.Whiteouts && p.owners[path].IsWhiteout() {
		return p.send(ctx, mark(join(dir.path, whiteoutPrefix+base)))
	}
	if err != nil {
		return failed("stat", path, err)
	}
	m := statMember(&st)
	if p.opts.Whiteouts && p.isWhiteout(path, m) {
		return p.send(ctx, mark(join(dir.path, whiteoutPrefix+base)))
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return fmt.Errorf("path %q: names in a layer cannot begin with %s", path, whiteoutPrefix)
	}
	switch m.kind {
	case 0:
		p.opts.Logger.Debug("socket left out", "path", path)
		return nil
	case kindDir:
		return p.subdir(ctx, dir, base, path, m)
	case kindSymlink:
		if m.link, err = readlinkAt(dir.fd, base); err != nil {
			return failed("read link", path, err)
		}
	}
	if st.Nlink > 1 {
		id := inode{uint64(st.Dev), st.Ino}
		if first, ok := p.first[id]; ok {
			m.kind, m.link, m.size = kindHard, first, 0
		} else {
			p.first[id] = path
		}
	}
	return p.file(ctx, dir, base, path, m)
}

// isWhiteout recognises what stands for an absence: overlayfs' device 0:0, or a
// file recorded as that device, where none can be made.
func (p *packer) isWhiteout(path string, m *member) bool {
	rec := p.owners[path]
	return m.kind == kindChar && m.rdev == 0 || m.kind == kindFile && rec.Type == unix.S_IFCHR && rec.Rdev == 0
}

// mark is an empty member that stands for an absence.
func mark(path string) *item {
	return &item{head: &tar.Header{Typeflag: tar.TypeReg, Name: path, ModTime: time.Unix(0, 0)}}
}

func (p *packer) subdir(ctx context.Context, dir *handle, base, path string, m *member) error {
	fd, err := openDir(dir.fd, base)
	if err != nil {
		return failed("open directory", path, err)
	}
	sub := newHandle(fd, path)
	defer sub.drop()
	head := p.header(path, m)
	if err := p.addXattrs(head, path, fd); err != nil {
		return failed("list attributes", path, err)
	}
	if err := p.send(ctx, &item{head: head}); err != nil {
		return err
	}
	if p.opts.Whiteouts {
		if v, err := getXattr(fd, opaqueXattr); err == nil && string(v) == "y" {
			if err := p.send(ctx, mark(join(path, opaqueMark))); err != nil {
				return err
			}
		}
	}
	return p.walkDir(ctx, sub)
}

// file sends anything but a directory.
func (p *packer) file(ctx context.Context, dir *handle, base, path string, m *member) error {
	head := p.header(path, m)
	it := &item{head: head}
	if head.Typeflag != tar.TypeReg {
		p.recordedXattrs(head, path)
		return p.send(ctx, it)
	}
	it.dir, it.base = dir.hold(), base
	if head.Size > smallFile {
		err := p.send(ctx, it)
		if err != nil {
			it.dir.drop()
		}
		return err
	}
	it.ready = make(chan struct{})
	select {
	case p.files <- it:
	case <-ctx.Done():
		it.dir.drop()
		return ctx.Err()
	}
	if err := p.send(ctx, it); err != nil {
		<-it.ready
		p.release(it)
		return err
	}
	return nil
}

// header is what an archive says about a file, but for attributes that take
// an open file to know.
func (p *packer) header(path string, m *member) *tar.Header {
	rec := p.owners[path]
	if m.kind == kindFile && (rec.Type == unix.S_IFCHR || rec.Type == unix.S_IFBLK) {
		m.kind, m.rdev, m.size = kindChar, rec.Rdev, 0
		if rec.Type == unix.S_IFBLK {
			m.kind = kindBlock
		}
	}
	head := &tar.Header{
		Typeflag: m.kind,
		Name:     path,
		Linkname: m.link,
		Mode:     int64(m.mode),
		ModTime:  time.Unix(m.mtime.Sec, 0),
		Uid:      int(rec.UID),
		Gid:      int(rec.GID),
	}
	if m.kind == kindHard {
		// The kind of the file it names decides what its mode means; members
		// with the same attributes are the same file's.
		rec = p.owners[m.link]
		head.Uid, head.Gid = int(rec.UID), int(rec.GID)
	}
	if p.opts.KeepOwners {
		head.Uid, head.Gid = int(m.uid), int(m.gid)
	} else {
		head.Mode = int64(truePerm(m, rec))
	}
	switch m.kind {
	case kindDir:
		head.Name += "/"
	case kindFile:
		head.Size = m.size
	case kindSymlink:
		head.Mode = 0o777
	case kindChar, kindBlock:
		head.Devmajor, head.Devminor = int64(unix.Major(m.rdev)), int64(unix.Minor(m.rdev))
	}
	if p.opts.MaxTime != 0 && m.mtime.Sec > p.opts.MaxTime {
		head.ModTime = time.Unix(p.opts.MaxTime, 0)
	}
	if p.opts.FlattenOwners {
		head.Uid, head.Gid = 0, 0
		head.Mode &^= unix.S_ISUID | unix.S_ISGID
	}
	return head
}

// addXattrs adds the attributes of an open file, and those recorded for it.
func (p *packer) addXattrs(head *tar.Header, path string, fd int) error {
	attrs, err := diskXattrs(fd, p.opts.KeepOwners)
	if err != nil {
		return err
	}
	for name, value := range attrs {
		p.setXattr(head, name, value)
	}
	p.recordedXattrs(head, path)
	return nil
}

func (p *packer) recordedXattrs(head *tar.Header, path string) {
	if head.Typeflag == tar.TypeLink {
		return // the first name has them
	}
	for name, value := range p.owners[path].Xattrs {
		if name == capXattr {
			value = portableCapability(value)
		}
		p.setXattr(head, name, string(value))
	}
}

func (p *packer) setXattr(head *tar.Header, name, value string) {
	if p.opts.FlattenOwners && name == capXattr {
		return
	}
	if strings.Contains(name, "=") {
		p.opts.Logger.Warn("extended attribute left out: its name cannot be in an archive", "path", head.Name, "attribute", name)
		return
	}
	if head.PAXRecords == nil {
		head.PAXRecords = map[string]string{}
	}
	head.PAXRecords[xattrKey+name] = value
}

// open opens the content of an item and completes its header.
func (p *packer) open(it *item) (int, error) {
	fd, err := openAt(it.dir.fd, it.base, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	if err := p.addXattrs(it.head, it.head.Name, fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// load reads a small file.
func (p *packer) load(it *item) error {
	fd, err := p.open(it)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	it.buf = p.bufs.get(it.head.Size)
	it.data = (*it.buf)[:it.head.Size]
	return readAll(fd, it.data)
}

// release gives back what an item holds.
func (p *packer) release(it *item) {
	if it.dir != nil {
		it.dir.drop()
	}
	p.bufs.put(it.buf)
	it.dir, it.buf, it.data = nil, nil, nil
}
