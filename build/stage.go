package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"virga/fakeroot"
	"virga/image"
	"virga/parser"
	"virga/storage"
)

// stage is one stage being built. Everything but start belongs to the one
// goroutine that start runs it on, until done is closed.
type stage struct {
	b     *builder
	num   int
	from  *parser.From
	ast   *parser.Stage
	scope *scope

	once sync.Once
	done chan struct{}
	err  error

	key    string // of the file system
	chain  []storage.TreeID
	owners fakeroot.Table // of the first merged trees of the chain; never changed, only replaced
	merged int
	states []storage.State // all that led here, the base excepted
	base   *storage.Image  // what FROM named, nil for scratch and stages
	config image.Config    // Config.Config is kept in set
	set    settings
	when   time.Time  // creation time of the last change
	plain  *plainRoot // the files at this state, where overlays do not work
	missed bool       // dry run: what follows would have to be computed
}

// start builds the stage, or waits until another caller has.
func (s *stage) start(ctx context.Context) error {
	s.once.Do(func() {
		defer close(s.done)
		s.err = s.run(ctx)
	})
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stage) run(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return s.b.at(s.from, err)
	}
	if err := s.triggers(ctx); err != nil {
		return err
	}
	for _, in := range s.ast.Instructions {
		if err := s.instruction(ctx, in); err != nil {
			return s.b.at(in, err)
		}
	}
	return nil
}

// begin takes over what FROM names.
func (s *stage) begin(ctx context.Context) (err error) {
	name := s.b.from[s.num]
	var other *stage
	if n, ok := s.b.graph.byName(name, s.num, false); ok && !s.b.named(name) {
		other = s.b.stages[n]
		if err := other.start(ctx); err != nil {
			return err
		}
	}
	step := s.begun(s.from, s.from)
	s.b.started(step)
	defer func() { s.b.finished(step, err) }()
	if other != nil {
		s.inherit(other)
		s.scope.inherit(other.scope)
		s.missed = other.missed
		return nil
	}
	if name == "scratch" {
		s.scratch()
		return nil
	}
	img, err := s.b.base(ctx, name, s.from.Platform.Text)
	if s.b.DryRun && errors.Is(err, storage.ErrNotFound) {
		s.scratch()
		s.missed = true
		return nil
	}
	if err != nil {
		return err
	}
	return s.fromImage(ctx, img)
}

func (s *stage) inherit(other *stage) {
	s.key, s.chain, s.base, s.when = other.key, slices.Clip(other.chain), other.base, other.when
	s.owners, s.merged, s.states = other.owners, other.merged, slices.Clip(other.states)
	s.config = *other.config.Clone()
	c := other.config.Clone()
	c.Config = other.set.RunConfig
	s.set = settings{RunConfig: c.Clone().Config}
}

func (s *stage) scratch() {
	p := s.b.Platform
	s.key = "scratch"
	if s.b.Chroot {
		s.key = "scratch with real owners"
	}
	s.config = image.Config{OS: p.OS, Architecture: p.Arch, Variant: p.Variant}
	s.set.Env, s.set.WorkingDir = []string{"PATH=" + defaultPath}, "/" // as BuildKit has it
	if s.b.Epoch != nil {
		s.when = *s.b.Epoch
	}
}

func (s *stage) fromImage(ctx context.Context, img *storage.Image) error {
	config, err := s.b.store.Config(img)
	if err != nil {
		return err
	}
	if err := s.b.store.Pin(ctx, img.Chain...); err != nil {
		return err
	}
	s.base, s.chain = img, slices.Clone(img.Chain)
	s.key = baseKey(config, s.b.Chroot)
	s.config = *config.Clone()
	s.set.RunConfig, s.config.Config = s.config.Config, image.RunConfig{}
	if config.Created != nil {
		s.when = *config.Created
	}
	return nil
}

// triggers runs the ONBUILD triggers of the base. The new image has none.
func (s *stage) triggers(ctx context.Context) error {
	texts := s.set.OnBuild
	s.set.OnBuild = nil
	for _, text := range texts {
		in, err := parser.ParseInstruction("ONBUILD of "+s.b.from[s.num], text, '\\')
		if err != nil {
			return s.b.at(s.from, fmt.Errorf("trigger %q: %w", oneLine(text, 60), err))
		}
		if err := s.instruction(ctx, in); err != nil {
			return s.b.at(s.from, fmt.Errorf("trigger %q: %w", oneLine(text, 60), err))
		}
	}
	return nil
}

// instruction expands and carries out one instruction.
func (s *stage) instruction(ctx context.Context, raw parser.Instruction) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if a, ok := raw.(*parser.Arg); ok {
		unset, err := s.scope.declare(a, s.set.Env)
		s.b.warnUnset(raw, unset)
		step := s.begun(raw, raw)
		s.b.started(step)
		s.b.finished(step, err)
		return err
	}
	in, unset, err := raw.Expand(s.scope.lookup(s.set.Env))
	if err != nil {
		return err
	}
	s.b.warnUnset(raw, unset)
	if err := s.await(ctx, in); err != nil {
		return err
	}
	step := s.begun(raw, in)
	defer func() { s.b.finished(step, err) }()
	return s.carryOut(ctx, in, step)
}

// await waits for the stages that an instruction names, so that its own time
// is what is told of it.
func (s *stage) await(ctx context.Context, in parser.Instruction) error {
	for _, name := range references(in) {
		if n, ok := s.b.graph.byName(name, s.num, true); ok && !s.b.named(name) && n != s.num {
			if err := s.b.stages[n].start(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *stage) carryOut(ctx context.Context, in parser.Instruction, step *Step) error {
	switch in := in.(type) {
	case *parser.Run:
		return s.runRun(ctx, in, step)
	case *parser.Copy:
		return s.runCopy(ctx, in, step)
	case *parser.Add:
		return s.runAdd(ctx, in, step)
	case *parser.Workdir:
		return s.runWorkdir(ctx, in, step)
	case *parser.Rsync:
		return s.runRsync(ctx, in, step)
	case *parser.Env:
		s.scope.set(in)
	case *parser.Maintainer:
		s.config.Author = in.Name
	}
	if _, err := s.set.configure(in); err != nil {
		return err
	}
	s.b.started(step)
	s.history(historyText(&s.set, in), true)
	return nil
}

// begun makes the step of an instruction and tells of it. shown is the
// instruction with its variables replaced.
func (s *stage) begun(raw, shown parser.Instruction) *Step {
	step := &Step{ID: int(s.b.ids.Add(1)), Stage: s.num, Name: s.ast.Name(), Line: raw.Pos().Line, Text: oneLine(shown.String(), 400), Flag: ' '}
	if s.b.Report != nil {
		s.b.Report.Begun(*step)
	}
	return step
}

func (b *builder) started(step *Step) {
	if b.Report != nil {
		b.Report.Started(*step)
	}
}

func (b *builder) finished(step *Step, err error) {
	b.mu.Lock()
	b.steps++
	b.mu.Unlock()
	if b.Report != nil {
		b.Report.Done(*step, err)
	}
}

// history appends a line to the image's history. All lines carry the time of
// the last change of the file system, so that an unchanged build is the same
// image.
func (s *stage) history(text string, empty bool) {
	h := image.History{CreatedBy: text, EmptyLayer: empty, Comment: "virga"}
	if !s.when.IsZero() {
		t := s.when.UTC()
		h.Created = &t
	}
	s.config.History = append(slices.Clip(s.config.History), h)
}

func historyText(c *settings, in parser.Instruction) string {
	if r, ok := in.(*parser.Run); ok && !r.JSON {
		text, _ := r.Script()
		return "RUN " + strings.Join(c.shell(), " ") + " " + text
	}
	return in.String()
}
