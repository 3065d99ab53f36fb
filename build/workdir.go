package build

import (
	"context"
	"path"

	"virga/fakeroot"
	"virga/parser"
)

// workdirKey is what a WORKDIR depends on besides the state below it.
type workdirKey struct{ Op, Dir, User string }

// runWorkdir sets the working directory and makes it, owned by USER, if it
// does not exist.
func (s *stage) runWorkdir(ctx context.Context, in *parser.Workdir, step *Step) error {
	dir := workdir(s.set.WorkingDir, in.Path.Text)
	s.set.WorkingDir = dir
	if path.IsAbs(in.Path.Text) {
		s.set.WorkingDir = in.Path.Text // as written, like BuildKit
	}
	return s.apply(ctx, op{
		step: step, text: in.String(),
		what: func(context.Context) (any, error) { return workdirKey{"WORKDIR", dir, s.set.User}, nil },
		do: func(ctx context.Context, snap *snapshot) (fakeroot.Table, error) {
			c := &copier{dst: snap.root, real: s.b.Chroot, placed: fakeroot.Table{}}
			if s.set.User != "" {
				owner, err := snap.owner(s.set.User)
				if err != nil {
					return nil, err
				}
				c.owner = owner
			}
			_, err := c.ensureDir(dir)
			return c.placed, err
		},
	})
}
