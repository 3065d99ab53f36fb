package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"virga/image"
	"virga/internal/inroot"
	"virga/parser"
)

// maxDockerfile bounds the Dockerfile; real ones are a few kilobytes.
const maxDockerfile = 16 << 20

// buildInput is the Dockerfile and the context of a build.
type buildInput struct {
	file     *parser.File
	context  *inroot.Root // nil: none
	relative string       // the Dockerfile's path below the context, "" if it is elsewhere
}

func (in *buildInput) close() {
	if in.context != nil {
		in.context.Close()
	}
}

// openBuild opens the context and reads the Dockerfile.
func openBuild(env *environment, o buildOptions) (*buildInput, error) {
	in := &buildInput{}
	if o.context != "-" {
		dir := env.abs(o.context)
		if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
			return nil, &contextError{o.context, err}
		}
		var err error
		if in.context, err = inroot.Open(dir); err != nil {
			return nil, fmt.Errorf("open context: %w", err)
		}
	}
	name, text, err := in.read(env, o)
	if err == nil {
		in.file, err = parser.Parse(name, text)
	}
	if err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// contextError says that CONTEXT is no directory.
type contextError struct {
	path string
	err  error
}

func (e *contextError) Error() string {
	if errors.Is(e.err, fs.ErrNotExist) {
		return fmt.Sprintf("build context %q: no such directory", e.path)
	}
	return fmt.Sprintf("build context %q: not a directory", e.path)
}

func (e *contextError) Hint() string {
	return "the context is the directory that COPY reads; with the Dockerfile elsewhere use --file FILE CONTEXT"
}

// read finds the Dockerfile and its name for messages.
func (in *buildInput) read(env *environment, o buildOptions) (string, []byte, error) {
	if o.context == "-" || o.file == "-" {
		b, err := readLimited(env.stdin)
		return "Dockerfile", b, err
	}
	if o.file != "" {
		path := env.abs(o.file)
		if rel, err := filepath.Rel(env.abs(o.context), path); err == nil && filepath.IsLocal(rel) {
			in.relative = rel
		}
		f, err := os.Open(path)
		if err != nil {
			return "", nil, &dockerfileError{o.file, err}
		}
		defer f.Close()
		b, err := readLimited(f)
		return o.file, b, err
	}
	for _, name := range []string{"Dockerfile", "Containerfile"} {
		f, err := os.Open(filepath.Join(env.abs(o.context), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, &dockerfileError{name, err}
		}
		defer f.Close()
		in.relative = name
		b, err := readLimited(f)
		return name, b, err
	}
	return "", nil, &dockerfileError{filepath.Join(o.context, "Dockerfile"), fs.ErrNotExist}
}

// dockerfileError says that the Dockerfile cannot be read.
type dockerfileError struct {
	path string
	err  error
}

func (e *dockerfileError) Error() string {
	if errors.Is(e.err, fs.ErrNotExist) {
		return fmt.Sprintf("Dockerfile %q: no such file", e.path)
	}
	return fmt.Sprintf("Dockerfile %q: %v", e.path, e.err)
}

func (e *dockerfileError) Unwrap() error { return e.err }

func (e *dockerfileError) Hint() string {
	return "Dockerfile, then Containerfile, is looked for in the context; name another with --file"
}

func readLimited(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxDockerfile+1))
	if err != nil {
		return nil, fmt.Errorf("read Dockerfile: %w", err)
	}
	if len(b) > maxDockerfile {
		return nil, fmt.Errorf("read Dockerfile: longer than %d bytes", maxDockerfile)
	}
	return b, nil
}

var notInName = regexp.MustCompile(`[^a-z0-9_.-]+`)

// inferTag names an image after its Dockerfile or context, as ch-image does:
// Dockerfile.EXT gives EXT, X.df and X.dockerfile give X, and otherwise the
// last component of the context counts.
func inferTag(env *environment, o buildOptions) (image.Reference, error) {
	name := ""
	base := filepath.Base(o.file)
	lower := strings.ToLower(base)
	switch {
	case o.file == "" || o.file == "-":
	case strings.HasPrefix(base, "Dockerfile."):
		name = strings.TrimPrefix(base, "Dockerfile.")
	case strings.HasSuffix(lower, ".df"):
		name = base[:len(base)-len(".df")]
	case strings.HasSuffix(lower, ".dockerfile"):
		name = base[:len(base)-len(".dockerfile")]
	}
	if name == "" && o.context != "-" {
		name = filepath.Base(env.abs(o.context))
		if name == "/" {
			name = "root"
		}
	}
	name = strings.Trim(notInName.ReplaceAllString(strings.ToLower(name), ""), "-._")
	ref, err := image.ParseReference(name)
	if err != nil {
		return ref, &usageError{msg: "build: no image name can be inferred", hint: "give one with --tag"}
	}
	return ref, nil
}
