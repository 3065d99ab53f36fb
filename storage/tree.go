package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"virga/fakeroot"
)

// Names in a tree's directory.
const (
	filesDir   = "fs"
	treeFile   = "tree.json"
	ownersFile = "owners.json"
)

// TreeID names a tree: 64 hexadecimal digits for a base (BaseID), 32 for what
// an instruction made (NewTreeID).
type TreeID string

// BaseID returns the name of the tree that unpacking layers with these diff
// IDs, bottom first, gives. flavor tells apart kinds of unpacking that give
// different files ("" for a user's, others for example with real owners).
func BaseID(diffIDs []digest.Digest, flavor string) TreeID {
	h := sha256.New()
	fmt.Fprintf(h, "virga base tree 1\n%s\n", flavor)
	for _, d := range diffIDs {
		fmt.Fprintln(h, d)
	}
	return TreeID(hex.EncodeToString(h.Sum(nil)))
}

// NewTreeID returns a name that no tree has.
func NewTreeID() TreeID { return TreeID(randomHex(16)) }

func (id TreeID) check() error {
	if _, err := hex.DecodeString(string(id)); err != nil || len(id) < 16 || len(id) > 64 {
		return fmt.Errorf("tree id %q: not 16 to 64 hexadecimal digits", string(id))
	}
	return nil
}

// Layer is a tree, or one of the layers it was flattened from, as a tar file.
type Layer struct {
	DiffID    digest.Digest `json:"diffID"`              // of the tar
	Digest    digest.Digest `json:"digest,omitempty"`    // of the blob as pulled or packed; the blob may be gone
	Size      int64         `json:"size,omitempty"`      // of the blob
	MediaType string        `json:"mediaType,omitempty"` // of the blob
}

// Tree describes a tree.
type Tree struct {
	ID      TreeID    `json:"id"`
	Layers  []Layer   `json:"layers,omitempty"` // bottom first; of what an instruction made at most one
	Base    bool      `json:"base,omitempty"`   // the first of a chain: no whiteouts in it
	Created time.Time `json:"created"`
	Files   int64     `json:"files,omitempty"` // number of files and directories
	Bytes   int64     `json:"bytes,omitempty"` // on disk
	BootID  string    `json:"bootID,omitempty"`
}

func (s *Store) treeDir(id TreeID) string { return s.path(treesDir, string(id)) }

// TreePath returns the directory of a tree's files. It does not say that the
// tree is there; Pin does.
func (s *Store) TreePath(id TreeID) string { return s.path(treesDir, string(id), filesDir) }

// CommitTree moves the directory dir, made in a Work, into storage as the
// tree meta.ID with the given owners, and pins it. If the tree exists, that is
// returned and dir is discarded, now or by its Work's Close. Bytes and Files
// are counted if meta has none.
func (s *Store) CommitTree(ctx context.Context, dir string, meta Tree, owners fakeroot.Table) (*Tree, error) {
	fail := func(err error) (*Tree, error) {
		return nil, fmt.Errorf("store tree %s: %w", meta.ID, err)
	}
	if err := meta.ID.check(); err != nil {
		return nil, err
	}
	if have, err := s.Tree(meta.ID); err == nil {
		switch err := s.Pin(ctx, meta.ID); {
		case err == nil:
			return have, nil
		case !errors.Is(err, ErrNotFound):
			return fail(err)
		}
	} else if err := s.Pin(ctx, meta.ID); err != nil && !errors.Is(err, ErrNotFound) {
		return fail(err) // else pinned before it is there: Collect sees the pin first
	}
	if meta.Bytes == 0 || meta.Files == 0 {
		var err error
		if meta.Bytes, meta.Files, err = measure(ctx, dir); err != nil {
			return fail(err)
		}
	}
	if meta.Created.IsZero() {
		meta.Created = time.Now().UTC()
	}
	meta.BootID = s.me().bootID()
	made, err := s.assemble(dir, meta, owners)
	if err != nil {
		return fail(err)
	}
	return s.install(ctx, made, &meta)
}

// assemble makes the tree's directory next to its final place; dir is moved
// there.
func (s *Store) assemble(dir string, meta Tree, owners fakeroot.Table) (string, error) {
	made, err := s.tempName("tree")
	if err != nil {
		return "", err
	}
	if err := fillTree(made, dir, meta, owners); err != nil {
		return "", errors.Join(err, RemoveTree(context.Background(), made))
	}
	return made, nil
}

func fillTree(made, dir string, meta Tree, owners fakeroot.Table) error {
	if err := os.Mkdir(made, 0o700); err != nil {
		return err
	}
	owners, err := moveFiles(dir, made+"/"+filesDir, owners)
	if err != nil {
		return err
	}
	if needsMarks(made+"/"+filesDir, owners) {
		if err := touch(made + "/" + marksFile); err != nil {
			return err
		}
	}
	table, err := encodeOwners(owners)
	if err != nil {
		return err
	}
	if err := makeFile(made+"/"+ownersFile, table, modePending, false); err != nil {
		return err
	}
	record, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("BUG: %w", err)
	}
	return makeFile(made+"/"+treeFile, append(record, '\n'), modePending, false)
}

// moveFiles renames dir. That changes "..", so the kernel wants dir writable;
// a root directory that is not is widened as everything else in a tree is.
func moveFiles(dir, to string, owners fakeroot.Table) (fakeroot.Table, error) {
	err := os.Rename(dir, to)
	if !errors.Is(err, fs.ErrPermission) {
		return owners, err
	}
	var st unix.Stat_t
	if e := unix.Lstat(dir, &st); e != nil || st.Mode&0o700 == 0o700 {
		return nil, err
	}
	if err := unix.Chmod(dir, st.Mode&0o7777|0o700); err != nil {
		return nil, err
	}
	if owners = maps.Clone(owners); owners == nil {
		owners = fakeroot.Table{}
	}
	if rec := owners["."]; !rec.HasPerm {
		rec.Perm, rec.HasPerm = st.Mode&0o7777, true
		owners["."] = rec
	}
	return owners, os.Rename(dir, to)
}

// install renames a made tree into place, or finds that another process was
// first.
func (s *Store) install(ctx context.Context, made string, meta *Tree) (*Tree, error) {
	fail := func(err error) (*Tree, error) {
		return nil, fmt.Errorf("store tree %s: %w", meta.ID, errors.Join(err, RemoveTree(context.WithoutCancel(ctx), made)))
	}
	place := s.treeDir(meta.ID)
	err := os.Rename(made, place)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		if have, err := s.Tree(meta.ID); err == nil {
			return have, RemoveTree(context.WithoutCancel(ctx), made)
		}
		err = s.replaceTree(ctx, made, place)
	}
	if err != nil {
		return fail(err)
	}
	s.dirty.add(place+"/"+treeFile, false)
	return meta, nil
}

// replaceTree puts a tree in place of one that is not to be trusted.
func (s *Store) replaceTree(ctx context.Context, made, place string) error {
	old, err := s.tempName("old")
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx, true)
	if err != nil {
		return err
	}
	err = os.Rename(place, old)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(made, place)
	}
	unlock()
	return errors.Join(err, RemoveTree(context.WithoutCancel(ctx), old))
}

// Tree reads a tree's description. A tree that is not there, or was not
// written out when its machine went down, gives a *MissingError.
func (s *Store) Tree(id TreeID) (*Tree, error) {
	t, durable, err := s.readTree(id)
	if err != nil {
		return nil, err
	}
	if !s.trusted(durable, t.BootID) {
		return nil, &MissingError{Trees: []TreeID{id}}
	}
	return t, nil
}

func (s *Store) readTree(id TreeID) (t *Tree, durable bool, err error) {
	if err := id.check(); err != nil {
		return nil, false, err
	}
	data, st, err := readSmall(s.treeDir(id)+"/"+treeFile, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, &MissingError{Trees: []TreeID{id}}
	}
	if err != nil {
		return nil, false, fmt.Errorf("tree %s: %w", id, err)
	}
	t = new(Tree)
	if err := json.Unmarshal(data, t); err != nil || t.ID != id {
		return &Tree{ID: id}, false, nil // cut off by a crash: there, and not to be trusted
	}
	return t, st.Mode&writeBits == 0, nil
}

// Owners reads the records of a tree's files.
func (s *Store) Owners(id TreeID) (fakeroot.Table, error) {
	if err := id.check(); err != nil {
		return nil, err
	}
	data, _, err := readSmall(s.treeDir(id)+"/"+ownersFile, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &MissingError{Trees: []TreeID{id}}
	}
	if err != nil {
		return nil, fmt.Errorf("owners of tree %s: %w", id, err)
	}
	t, err := decodeOwners(data)
	if err != nil {
		return nil, fmt.Errorf("owners of tree %s: %w: %w", id, ErrCorrupt, err)
	}
	return t, nil
}

// SetLayer remembers the tar form of a tree that was packed: it replaces the
// layer of equal diff ID, or the only layer, or is the first.
func (s *Store) SetLayer(ctx context.Context, id TreeID, l Layer) error {
	unlock, err := s.lock(ctx, true)
	if err != nil {
		return err
	}
	defer unlock()
	t, durable, err := s.readTree(id)
	if err != nil {
		return err
	}
	at := len(t.Layers)
	for i, have := range t.Layers {
		if have.DiffID == l.DiffID {
			at = i
		}
	}
	switch {
	case at < len(t.Layers):
		t.Layers[at] = l
	case t.Base && at > 0:
		return fmt.Errorf("BUG: layer %s is none of base tree %s", l.DiffID, id)
	default:
		t.Layers = []Layer{l}
	}
	path := s.treeDir(id) + "/" + treeFile
	if err := s.writeRecord(path, t, durable); err != nil {
		return fmt.Errorf("remember layer of tree %s: %w", id, err)
	}
	if !durable {
		s.dirty.add(path, false)
	}
	return nil
}

// measure counts the files below dir and what they take on disk. Names of
// one inode count once. Directories are read side by side.
func measure(ctx context.Context, dir string) (bytes, files int64, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return 0, 0, pathError("stat", dir, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	m := measurer{ctx: ctx, g: g, seen: map[inode]bool{}}
	m.count(&st)
	g.Go(func() error { return m.directory(dir) })
	err = g.Wait()
	return m.bytes.Load(), m.files.Load(), err
}

type inode struct{ dev, ino uint64 }

type measurer struct {
	ctx          context.Context
	g            *errgroup.Group
	bytes, files atomic.Int64
	mu           sync.Mutex
	seen         map[inode]bool // with several names
}

// count counts a file.
func (m *measurer) count(st *unix.Stat_t) {
	m.files.Add(1)
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		m.mu.Lock()
		defer m.mu.Unlock()
		key := inode{uint64(st.Dev), st.Ino}
		if m.seen[key] {
			return
		}
		m.seen[key] = true
	}
	m.bytes.Add(st.Blocks * 512)
}

// directory counts what is below dir. What vanishes meanwhile is not there.
func (m *measurer) directory(dir string) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	subs, err := m.entries(dir)
	if err != nil {
		return err
	}
	for _, sub := range subs {
		if m.g.TryGo(func() error { return m.directory(sub) }) {
			continue
		}
		if err := m.directory(sub); err != nil {
			return err
		}
	}
	return nil
}

// entries counts what is in dir, which is closed then, and returns the paths of
// the directories among it.
func (m *measurer) entries(dir string) (subs []string, err error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	fd := int(d.Fd())
	for _, name := range names {
		var st unix.Stat_t
		switch err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err {
		case nil:
		case unix.ENOENT:
			continue
		default:
			return nil, pathError("stat", filepath.Join(dir, name), err)
		}
		m.count(&st)
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			subs = append(subs, dir+"/"+name)
		}
	}
	return subs, nil
}
