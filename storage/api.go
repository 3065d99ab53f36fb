package storage

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/fakeroot"
	"virga/image"
)

type Options struct {
	NoLock bool         // take no locks (a file system without them); the caller sees to it that no other process is there
	Log    *slog.Logger // nil: nothing is logged
}

// Store is an open storage directory, safe for concurrent use.
type Store struct{}

func Open(ctx context.Context, dir string, opts Options) (*Store, error) { panic("BUG: not yet") }
func Reset(ctx context.Context, dir string, opts Options) error          { panic("BUG: not yet") }
func (s *Store) Close() error                                            { panic("BUG: not yet") }
func (s *Store) Dir() string                                             { panic("BUG: not yet") }
func (s *Store) Sync(ctx context.Context) error                          { panic("BUG: not yet") }
func (s *Store) NotePath(name string) string                             { panic("BUG: not yet") }
func RemoveTree(ctx context.Context, dir string) error                   { panic("BUG: not yet") }

type BlobOptions struct {
	Verified bool // the source fails at its end unless size and digest are right; the digest is not computed again
}
type BlobWriter struct{}

func (s *Store) PutBlob(ctx context.Context, d digest.Digest, size int64, r io.Reader) error {
	panic("BUG: not yet")
}
func (s *Store) AddBlob(ctx context.Context, data []byte) (digest.Digest, error) {
	panic("BUG: not yet")
}
func (s *Store) OpenBlob(d digest.Digest) (*os.File, error)       { panic("BUG: not yet") }
func (s *Store) StatBlob(d digest.Digest) (size int64, err error) { panic("BUG: not yet") }
func (s *Store) ReadBlob(d digest.Digest) ([]byte, error)         { panic("BUG: not yet") }
func (s *Store) DropBlob(d digest.Digest) error                   { panic("BUG: not yet") }
func (s *Store) NewBlob(ctx context.Context, d digest.Digest, size int64, opts BlobOptions) (*BlobWriter, error) {
	panic("BUG: not yet")
}
func (w *BlobWriter) Write(p []byte) (int, error)    { panic("BUG: not yet") }
func (w *BlobWriter) Reader() (io.ReadCloser, error) { panic("BUG: not yet") }
func (w *BlobWriter) Commit() (digest.Digest, error) { panic("BUG: not yet") }
func (w *BlobWriter) Fail(err error)                 { panic("BUG: not yet") }
func (w *BlobWriter) Close() error                   { panic("BUG: not yet") }

type Work struct{}

func (s *Store) NewWork(ctx context.Context) (*Work, error) { panic("BUG: not yet") }
func (w *Work) Path() string                                { panic("BUG: not yet") }
func (w *Work) Sub(name string) (string, error)             { panic("BUG: not yet") }
func (w *Work) Close() error                                { panic("BUG: not yet") }

type TreeID string
type Layer struct {
	DiffID    digest.Digest `json:"diffID"`
	Digest    digest.Digest `json:"digest,omitempty"`
	Size      int64         `json:"size,omitempty"`
	MediaType string        `json:"mediaType,omitempty"`
}
type Tree struct {
	ID      TreeID    `json:"id"`
	Layers  []Layer   `json:"layers,omitempty"`
	Base    bool      `json:"base,omitempty"`
	Created time.Time `json:"created"`
	Files   int64     `json:"files,omitempty"`
	Bytes   int64     `json:"bytes,omitempty"`
	BootID  string    `json:"bootID,omitempty"`
}

func BaseID(diffIDs []digest.Digest, flavor string) TreeID { panic("BUG: not yet") }
func NewTreeID() TreeID                                    { panic("BUG: not yet") }
func (s *Store) CommitTree(ctx context.Context, dir string, meta Tree, owners fakeroot.Table) (*Tree, error) {
	panic("BUG: not yet")
}
func (s *Store) Tree(id TreeID) (*Tree, error)                  { panic("BUG: not yet") }
func (s *Store) TreePath(id TreeID) string                      { panic("BUG: not yet") }
func (s *Store) Owners(id TreeID) (fakeroot.Table, error)       { panic("BUG: not yet") }
func (s *Store) SetLayer(id TreeID, l Layer) error              { panic("BUG: not yet") }
func (s *Store) Pin(ctx context.Context, trees ...TreeID) error { panic("BUG: not yet") }
func (s *Store) PinBlobs(ctx context.Context, blobs ...digest.Digest) error {
	panic("BUG: not yet")
}

type Image struct {
	Ref         string         `json:"ref"`
	ID          digest.Digest  `json:"id"`
	Digest      digest.Digest  `json:"digest,omitempty"`
	IndexDigest digest.Digest  `json:"indexDigest,omitempty"`
	Chain       []TreeID       `json:"chain"`
	Flat        TreeID         `json:"flat,omitempty"`
	Platform    image.Platform `json:"platform"`
	Created     time.Time      `json:"created"`
	Size        int64          `json:"size"`
	Stored      time.Time      `json:"stored"`
	BootID      string         `json:"bootID,omitempty"`
}

func (s *Store) PutImage(ctx context.Context, img Image) error { panic("BUG: not yet") }
func (s *Store) Image(ref image.Reference) (*Image, error)     { panic("BUG: not yet") }
func (s *Store) Images() ([]Image, error)                      { panic("BUG: not yet") }
func (s *Store) Lookup(query string) ([]Image, error)          { panic("BUG: not yet") }
func (s *Store) Match(globs ...string) (found []Image, unmatched []string, err error) {
	panic("BUG: not yet")
}
func (s *Store) Tag(ctx context.Context, src Image, dst image.Reference) error { panic("BUG: not yet") }
func (s *Store) Delete(ctx context.Context, globs ...string) (deleted []Image, unmatched []string, err error) {
	panic("BUG: not yet")
}
func (s *Store) Undelete(ctx context.Context, ref image.Reference) (*Image, error) {
	panic("BUG: not yet")
}
func (s *Store) Deleted() ([]Image, error) { panic("BUG: not yet") }

type State struct {
	Key         string          `json:"key"`
	Parent      string          `json:"parent,omitempty"`
	Chain       []TreeID        `json:"chain"`
	Config      json.RawMessage `json:"config,omitempty"`
	Instruction string          `json:"instruction"`
	Created     time.Time       `json:"created"`
	LastUsed    time.Time       `json:"-"`
	BootID      string          `json:"bootID,omitempty"`
}

func (s *Store) GetState(key string) (*State, error)          { panic("BUG: not yet") }
func (s *Store) PutState(ctx context.Context, st State) error { panic("BUG: not yet") }
func (s *Store) DropState(key string) error                   { panic("BUG: not yet") }
func (s *Store) States(ctx context.Context) ([]State, error)  { panic("BUG: not yet") }

func (s *Store) KeyLock(ctx context.Context, name string) (unlock func(), err error) {
	panic("BUG: not yet")
}

type Sharing int

const (
	Shared Sharing = iota
	Private
	Locked
)

type Mount struct{}

func (s *Store) CacheMount(ctx context.Context, id string, how Sharing) (*Mount, error) {
	panic("BUG: not yet")
}
func (m *Mount) Path() string { panic("BUG: not yet") }
func (m *Mount) Close() error { panic("BUG: not yet") }

type Policy struct {
	All         bool
	Until       time.Time
	KeepStorage int64
	Mounts      bool
	DryRun      bool
}
type Freed struct {
	Trees, Blobs, States, Mounts int
	Bytes                        int64
}

func (s *Store) Collect(ctx context.Context, p Policy) (Freed, error) { panic("BUG: not yet") }

type Usage struct {
	Images, Trees, Blobs, States, Mounts, Work Item
}
type Item struct {
	Count       int
	Bytes       int64
	Reclaimable int64
}

func (s *Store) Du(ctx context.Context) (*Usage, error) { panic("BUG: not yet") }

type Problem struct{ Object, Detail string }

func (s *Store) Check(ctx context.Context) ([]Problem, error) { panic("BUG: not yet") }
