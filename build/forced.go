package build

import (
	"context"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"virga/fakeroot"
	"virga/unpriv"
)

// errNoDistribution is the answer of --force=fakeroot to an image of no known
// distribution.
type errNoDistribution struct{}

func (errNoDistribution) Error() string {
	return "--force=fakeroot: the image is of no distribution that is known"
}

// Hint names the mode that needs none.
func (errNoDistribution) Hint() string {
	return "use --force=seccomp, the default, which works with any"
}

// wrap puts c under fakeroot(1) if it uses a package manager, and sees to it
// that the image has fakeroot.
func (s *stage) wrap(ctx context.Context, c *unpriv.Container, snap *snapshot) error {
	d, ok := fakeroot.Detect(os.DirFS(snap.root.Name()))
	if !ok {
		return errNoDistribution{}
	}
	if !d.Wanted(c.Process.Args) {
		return nil
	}
	for _, step := range d.Steps {
		if err := s.prepareStep(ctx, *c, step); err != nil {
			return fmt.Errorf("--force=fakeroot: %s: %w", step.Name, err)
		}
	}
	c.Process.Args, c.Process.Env = d.Wrap(c.Process.Args, c.Process.Env)
	return nil
}

// prepareStep runs one preparation, unless its check says that it is done.
func (s *stage) prepareStep(ctx context.Context, c unpriv.Container, step fakeroot.Step) error {
	run := func(command string) (unpriv.Status, error) {
		c.Process = specs.Process{Args: []string{"/bin/sh", "-c", command}, Env: c.Process.Env, Cwd: "/"}
		return unpriv.Run(ctx, c)
	}
	if step.Check != "" {
		if st, err := run(step.Check); err != nil || st == (unpriv.Status{}) {
			return err
		}
	}
	s.b.log.Info(fmt.Sprintf("--force=fakeroot: %s: %s", step.Name, step.Command))
	st, err := run(step.Command)
	if err == nil && st != (unpriv.Status{}) {
		err = &RunError{Args: []string{"/bin/sh", "-c", step.Command}, Status: st, Forced: true}
	}
	return err
}
