package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"virga/build"
	"virga/image"
	"virga/internal/inroot"
	"virga/parser"
	"virga/storage"
)

// buildInput is the Dockerfile and the context of a build.
type buildInput struct {
	file     *parser.File
	text     []byte // of the Dockerfile
	context  *build.Context
	relative string // the Dockerfile's path below the context, "" if it is elsewhere
	named    map[string]build.NamedContext
}

func (in *buildInput) close(env *environment) {
	err := in.context.Close()
	for _, n := range in.named {
		if n.Root != nil {
			err = errors.Join(err, n.Root.Close())
		}
	}
	if err != nil {
		env.log.Warn(err.Error())
	}
}

// openBuild opens the contexts and reads the Dockerfile.
func openBuild(ctx context.Context, env *environment, store *storage.Store, o buildOptions) (*buildInput, error) {
	in := &buildInput{}
	arg := o.context
	if arg != "-" && !strings.Contains(arg, "://") && !strings.HasPrefix(arg, "git@") && !strings.HasPrefix(arg, "github.com/") {
		arg = env.abs(arg)
	}
	var err error
	if in.context, err = build.OpenContext(ctx, store, arg, env.stdin); err != nil {
		return nil, err
	}
	name, text, err := in.read(env, o, arg)
	if err == nil {
		in.text = text
		in.file, err = parser.Parse(name, text)
	}
	if err == nil {
		err = in.openNamed(env, o.contexts)
	}
	if err != nil {
		in.close(env)
		return nil, err
	}
	return in, nil
}

// provenance is what a record of the build says about its input. The place of
// a local Dockerfile is not told, but its name.
func (in *buildInput) provenance() *build.Provenance {
	p := &build.Provenance{
		Version: programVersion(), Dockerfile: in.text, DockerfileName: in.relative, Context: in.context.Address, Commit: in.context.Commit,
	}
	if p.DockerfileName == "" {
		p.DockerfileName = filepath.Base(in.file.Name)
	}
	return p
}

// openNamed opens --build-context: NAME=DIR, else NAME=IMAGE, which may be
// written docker-image://IMAGE.
func (in *buildInput) openNamed(env *environment, list map[string]string) error {
	in.named = map[string]build.NamedContext{}
	for name, v := range list {
		ref, isImage := strings.CutPrefix(v, "docker-image://")
		if fi, err := os.Stat(env.abs(v)); !isImage && err == nil && fi.IsDir() {
			root, err := inroot.Open(env.abs(v))
			if err != nil {
				return fmt.Errorf("--build-context %s: %w", name, err)
			}
			in.named[name] = build.NamedContext{Root: root}
			continue
		}
		if _, err := image.ParseReference(ref); err != nil {
			return fmt.Errorf("--build-context %s: no such directory, and %w", name, err)
		}
		in.named[name] = build.NamedContext{Image: ref}
	}
	return nil
}

// read finds the Dockerfile and its name for messages. arg is the context as
// it was opened.
func (in *buildInput) read(env *environment, o buildOptions, arg string) (string, []byte, error) {
	switch {
	case in.context.Dockerfile != nil:
		return "Dockerfile", in.context.Dockerfile, nil
	case o.file == "-":
		b, err := readLimited(env.stdin)
		return "Dockerfile", b, err
	case o.file != "" && exists(env.abs(o.file)):
		if rel, err := filepath.Rel(arg, env.abs(o.file)); err == nil && filepath.IsLocal(rel) {
			in.relative = rel
		}
		f, err := os.Open(env.abs(o.file))
		if err != nil {
			return "", nil, &dockerfileError{o.file, err}
		}
		defer f.Close()
		b, err := readLimited(f)
		return o.file, b, err
	}
	names := []string{"Dockerfile", "Containerfile"}
	if o.file != "" {
		names = []string{o.file} // below the context, as Docker looks for it too
	}
	for _, name := range names {
		b, err := in.context.Root.ReadFile(name, build.MaxDockerfile)
		if inroot.IsNotExist(err) {
			continue
		}
		if err != nil {
			return "", nil, &dockerfileError{name, err}
		}
		in.relative = name
		return name, b, nil
	}
	if o.file != "" {
		return "", nil, &dockerfileError{o.file, fs.ErrNotExist}
	}
	return "", nil, &dockerfileError{filepath.Join(o.context, "Dockerfile"), fs.ErrNotExist}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
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
	b, err := io.ReadAll(io.LimitReader(r, build.MaxDockerfile+1))
	if err != nil {
		return nil, fmt.Errorf("read Dockerfile: %w", err)
	}
	if len(b) > build.MaxDockerfile {
		return nil, fmt.Errorf("read Dockerfile: longer than %d bytes", build.MaxDockerfile)
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
