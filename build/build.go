package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"virga/attest"
	"virga/fakeroot"
	"virga/image"
	"virga/internal/inroot"
	"virga/parser"
	"virga/storage"
)

// CacheMode says how a build uses remembered results.
type CacheMode int

const (
	CacheUse     CacheMode = iota // take results that are there, remember new ones
	CacheOff                      // neither
	CacheRebuild                  // run everything again and remember it
)

// Bases gives the images that FROM and COPY --from name. An image that is not
// in storage is pulled.
type Bases interface {
	Base(ctx context.Context, ref image.Reference, want image.Platform) (*storage.Image, error)
	// Flatten merges a chain of trees into dir, an empty directory.
	Flatten(ctx context.Context, dir string, chain []storage.TreeID) (fakeroot.Table, error)
}

// Reporter hears how a build goes on. Calls come from several goroutines. Each
// step that has begun is done at some time, and has started before if it did
// not fail earlier.
type Reporter interface {
	// Begun tells that an instruction is looked at; its flag is not known yet.
	Begun(Step)
	// Started tells what becomes of it: its flag is known.
	Started(Step)
	// Done tells how it ended; err is nil on success.
	Done(Step, error)
}

// Step is one instruction of one stage on its way.
type Step struct {
	ID    int    // 1 and up, of one build
	Stage int    // number of the stage
	Name  string // of the stage, or ""
	Line  int    // in the Dockerfile
	Text  string // the instruction on one line, variables replaced for display
	Flag  byte   // '*' result taken from the cache, '.' computed, ' ' nothing to compute
}

// Options are a build's inputs. The required ones are the arguments of Build.
type Options struct {
	Context    *inroot.Root            // nil: no context
	Named      map[string]NamedContext // --build-context
	Dockerfile string                  // its path below the context, "" if it lies elsewhere; for DOCKERFILE.dockerignore
	Tags       []image.Reference
	Args       map[string]string // --build-arg
	Labels     map[string]string
	Target     string
	Platform   image.Platform    // zero: the host's
	Binds      []specs.Mount     // for RUN
	Secrets    map[string]Secret // --secret, by id
	SSH        map[string]string // --ssh: agent sockets by id
	Force      Force
	Chroot     bool // real root: owners and devices are real
	Cache      CacheMode
	Remote     Cache      // --cache-from, --cache-to; nil: none
	DryRun     bool       // report what would be done, and do nothing
	Jobs       int        // stages worked on at once; 0: as many as processors
	Epoch      *time.Time // SOURCE_DATE_EPOCH: no later time enters the image, and files of the context have this one
	Squash     bool       // one layer for all that is added to the base image
	Flat       bool       // keep the image as one tree, too
	HostEnv    []string   // the caller's environment, for pass-through variables
	// Qualify completes the name of an image that is not in storage and says
	// no registry; nil: it is Docker Hub's.
	Qualify func(name string) (string, error)
	// Provenance, unless nil, has it kept with the image how that was made.
	Provenance *Provenance
	Report     Reporter // nil: nobody
	// Stdin is what RUN reads; nil: nothing. It is for an interactive session.
	Stdin *os.File
	// Output is where what a step's commands print goes; nil: nowhere.
	Output func(Step) io.Writer
	Log    *slog.Logger
}

// NamedContext is a --build-context: a directory, or an image if Root is nil.
type NamedContext struct {
	Root  *inroot.Root
	Image string
}

// Result is a finished build.
type Result struct {
	Image *storage.Image // as recorded, under the first tag
	Runs  int            // RUN instructions executed under root emulation
	Steps int            // instructions of the stages built
}

// Build runs the Dockerfile f and records the image of the target stage under
// every tag. Nothing is recorded if it fails; what finished instructions made
// stays in the cache.
func Build(ctx context.Context, store *storage.Store, bases Bases, f *parser.File, o Options) (*Result, error) {
	for {
		res, err := buildOnce(ctx, store, bases, f, o)
		// A state that was counted on is not to be had after all. Now that this
		// is known, the same build finds it missing; what was done is not lost.
		var lost *fetchError
		if err == nil || !errors.As(err, &lost) {
			return res, err
		}
	}
}

func buildOnce(ctx context.Context, store *storage.Store, bases Bases, f *parser.File, o Options) (*Result, error) {
	b, err := newBuilder(ctx, store, bases, f, o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	res, err := b.build(ctx)
	if err != nil {
		return nil, err
	}
	if names := b.scope.unused(); len(names) > 0 {
		b.log.Warn("build arguments not used by any ARG", "names", names)
	}
	return res, nil
}

// builder is one build.
type builder struct {
	Options
	store  *storage.Store
	bases  Bases
	file   *parser.File
	log    *slog.Logger
	work   *storage.Work
	scope  *scope
	graph  *graph
	start  time.Time
	from   []string // expanded image names of the stages
	stages []*stage
	ctxSrc *source // the context, opened on first use
	tokens chan struct{}
	snaps  atomic.Int64 // snapshots made, for their names
	ids    atomic.Int64 // steps begun

	mu      sync.Mutex
	distant map[storage.TreeID]*distant
	aliases map[string][]storage.State // by the key that they stand for
	roots   []*inroot.Root             // closed at the end
	runs    int
	steps   int
	read    []attest.Resource  // what was read from outside, for the provenance
	dirs    map[string]*source // the directories of --build-context that were read

	fetching sync.Mutex // one at a time: chains share trees

	probeOnce sync.Once
	overlayOK bool

	levelOnce  sync.Once
	levelFound fakeroot.Level
}

func newBuilder(ctx context.Context, store *storage.Store, bases Bases, f *parser.File, o Options) (*builder, error) {
	if o.Platform == (image.Platform{}) {
		o.Platform = image.Host()
	}
	if o.Jobs <= 0 {
		o.Jobs = runtime.NumCPU()
	}
	if o.Output == nil {
		o.Output = func(Step) io.Writer { return io.Discard }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &builder{dirs: map[string]*source{}, Options: o, store: store, bases: bases, file: f, log: o.Log, tokens: make(chan struct{}, o.Jobs),
		distant: map[storage.TreeID]*distant{}, aliases: map[string][]storage.State{}}
	b.start = b.now()
	if err := b.plan(); err != nil {
		return nil, err
	}
	var err error
	if b.work, err = store.NewWork(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// plan expands the FROM lines and finds out which stages are needed.
func (b *builder) plan() error {
	b.scope = newScope(b.Args, platformArgs(image.Host(), b.Platform, b.Target))
	for _, a := range b.file.MetaArgs {
		unset, err := b.scope.declare(a, nil)
		if err != nil {
			return err
		}
		b.warnUnset(a, unset)
	}
	for i, s := range b.file.Stages {
		in, unset, err := s.From.Expand(b.scope.lookup(nil))
		if err != nil {
			return err
		}
		b.warnUnset(s.From, unset)
		from := in.(*parser.From)
		if from.Image.Text == "" {
			return b.at(from, errors.New("the base image name is empty after substitution"))
		}
		b.from = append(b.from, from.Image.Text)
		b.stages = append(b.stages, &stage{b: b, num: i, from: from, ast: s, scope: b.scope.stage(), done: make(chan struct{})})
	}
	var err error
	b.graph, err = newGraph(b.file, b.from, b.named, b.Target)
	return err
}

// named reports whether name is a --build-context, which hides stages and
// images of that name.
func (b *builder) named(name string) bool {
	_, ok := b.Named[name]
	return ok
}

func (b *builder) warnUnset(in parser.Instruction, names []string) {
	for _, n := range names {
		b.log.Warn(fmt.Sprintf("%s:%d: variable %q is not set, taken as empty", b.file.Name, in.Pos().Line, n))
	}
}

func (b *builder) close() {
	if b.ctxSrc != nil && b.ctxSrc.digests != nil {
		if err := b.ctxSrc.digests.save(); err != nil {
			b.log.Warn(err.Error())
		}
	}
	for _, r := range b.roots {
		r.Close()
	}
	if err := b.work.Close(); err != nil {
		b.log.Warn(err.Error())
	}
}

// build works on the target; the stages it needs start by themselves.
func (b *builder) build(ctx context.Context) (*Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for i, want := range b.graph.wanted() {
		if !want {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := b.stages[i].start(ctx); err != nil {
				cancel(err)
			}
		}()
	}
	wg.Wait()
	target := b.stages[b.graph.target]
	if target.err != nil {
		return nil, b.firstError(ctx, target.err)
	}
	if b.DryRun {
		return &Result{Steps: b.steps}, nil
	}
	img, err := b.commit(ctx, target)
	if err != nil {
		return nil, err
	}
	if err := b.leave(ctx, target); err != nil {
		return nil, err
	}
	return &Result{Image: img, Runs: b.runs, Steps: b.steps}, nil
}

// firstError prefers the failure that stopped the build to the cancellations
// that followed from it.
func (b *builder) firstError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		return cause
	}
	return err
}

// acquire waits for the right to work on something that takes time.
func (b *builder) acquire(ctx context.Context) (release func(), err error) {
	select {
	case b.tokens <- struct{}{}:
		return func() { <-b.tokens }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// InstructionError says which instruction of the Dockerfile a failure belongs
// to.
type InstructionError struct {
	File string
	In   parser.Instruction
	Err  error
}

func (e *InstructionError) Error() string {
	return fmt.Sprintf("%s:%d: %s: %v", e.File, e.In.Pos().Line, e.In.Keyword(), e.Err)
}

func (e *InstructionError) Unwrap() error { return e.Err }

// at puts the place of in to err, once.
func (b *builder) at(in parser.Instruction, err error) error {
	var ie *InstructionError
	var pe *parser.Error
	if err == nil || errors.As(err, &ie) || errors.As(err, &pe) || errors.Is(err, context.Canceled) {
		return err
	}
	return &InstructionError{File: b.file.Name, In: in, Err: err}
}

// Force is the root emulation asked for.
type Force struct {
	Mode   fakeroot.Mode
	Inject []fakeroot.Injection // --force-cmd
}
