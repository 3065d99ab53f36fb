package build

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"virga/internal/inroot"
	"virga/layer"
	"virga/storage"
)

// MaxDockerfile bounds the Dockerfile; real ones are a few kilobytes.
const MaxDockerfile = 16 << 20

// Context is an opened build context.
type Context struct {
	Root *inroot.Root // nil: none
	// Dockerfile is what came instead of a context on standard input; nil if
	// the Dockerfile is to be looked for.
	Dockerfile []byte
	// Address is where the context was fetched from, and Commit the one of its
	// git repository; "" for others.
	Address, Commit string
	work            *storage.Work
}

// Close removes what was fetched for the context.
func (c *Context) Close() error {
	var err error
	if c.Root != nil {
		err = c.Root.Close()
	}
	if c.work != nil {
		err = errors.Join(err, c.work.Close())
	}
	return err
}

// ContextError says that a build context cannot be used.
type ContextError struct {
	Arg string
	Err error
}

func (e *ContextError) Error() string { return fmt.Sprintf("build context %q: %v", e.Arg, e.Err) }
func (e *ContextError) Unwrap() error { return e.Err }

// Hint says what a context is.
func (e *ContextError) Hint() string {
	return "the context is the directory that COPY reads (or -, a tar archive, a git or http address); for a Dockerfile elsewhere use --file FILE CONTEXT"
}

// OpenContext opens the CONTEXT argument of a build: a directory, a tar
// archive with any compression, a git or http(s) address, or "-": standard
// input, which holds an archive or, without a context, the Dockerfile.
func OpenContext(ctx context.Context, store *storage.Store, arg string, stdin io.Reader) (*Context, error) {
	c := &Context{}
	var err error
	switch {
	case arg == "-":
		err = c.fromStdin(ctx, store, stdin)
	case isRemote(arg) || strings.HasPrefix(arg, "github.com/"):
		err = c.fetch(ctx, store, arg)
	default:
		err = c.fromPath(ctx, store, arg)
	}
	if err != nil {
		return nil, errors.Join(&ContextError{arg, err}, c.Close())
	}
	return c, nil
}

func (c *Context) fromPath(ctx context.Context, store *storage.Store, arg string) error {
	fi, err := os.Stat(arg)
	if err != nil {
		return plain(err)
	}
	if fi.IsDir() {
		c.Root, err = inroot.Open(arg)
		return err
	}
	f, err := os.Open(arg)
	if err != nil {
		return plain(err)
	}
	defer f.Close()
	if !isArchive(f) {
		return errors.New("not a directory, nor a tar archive")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return c.extract(ctx, store, f)
}

// fromStdin looks whether standard input starts like an archive.
func (c *Context) fromStdin(ctx context.Context, store *storage.Store, stdin io.Reader) error {
	r := bufio.NewReaderSize(stdin, 1<<20)
	head, err := r.Peek(1 << 20)
	if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
		return err
	}
	if isArchive(bytes.NewReader(head)) {
		return c.extract(ctx, store, r)
	}
	c.Dockerfile, err = io.ReadAll(io.LimitReader(r, MaxDockerfile+1))
	if err == nil && len(c.Dockerfile) > MaxDockerfile {
		err = fmt.Errorf("the Dockerfile is longer than %d bytes", MaxDockerfile)
	}
	if c.Dockerfile == nil {
		c.Dockerfile = []byte{}
	}
	return err
}

func (c *Context) extract(ctx context.Context, store *storage.Store, r io.Reader) error {
	dir, err := c.newWork(ctx, store)
	if err != nil {
		return err
	}
	if _, err := layer.ExtractTar(ctx, dir, r, layer.ExtractOptions{KeepDev: true}); err != nil {
		return err
	}
	c.Root, err = inroot.Open(dir)
	return err
}

func (c *Context) newWork(ctx context.Context, store *storage.Store) (dir string, err error) {
	if c.work, err = store.NewWork(ctx); err != nil {
		return "", err
	}
	return c.work.Sub("context")
}

// fetch gets a git repository, or a file, which is an archive or a Dockerfile.
func (c *Context) fetch(ctx context.Context, store *storage.Store, arg string) error {
	dir, err := c.newWork(ctx, store)
	if err != nil {
		return err
	}
	if strings.HasPrefix(arg, "github.com/") {
		arg = "https://" + arg
		if base, frag, ok := strings.Cut(arg, "#"); !strings.HasSuffix(base, ".git") {
			arg = base + ".git"
			if ok {
				arg += "#" + frag
			}
		}
	}
	c.Address = arg
	if isGit(arg) {
		c.Root, c.Commit, err = cloneGit(ctx, dir, arg, true)
		return err
	}
	file := filepath.Join(c.work.Path(), "download")
	if _, err := fetchFile(ctx, arg, file, ""); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.fromStdin(ctx, store, f)
}
