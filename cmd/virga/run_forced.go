package main

import (
	"context"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"virga/build"
	"virga/emulate"
	"virga/fakeroot"
	"virga/image"
	"virga/layer"
	"virga/unpriv"
)

// runForced is run --force: the program sees the image as RUN does, with root
// emulated. Other than without, virga stays in between, in namespaces.
func runForced(ctx context.Context, env *environment, o *runOptions) error {
	if done, err := env.enter(ctx, unpriv.Entry{PassSignals: true}); done || err != nil {
		return err
	}
	im, config, done, err := o.locate(ctx, env)
	if err != nil {
		return err
	}
	defer done()
	c := unpriv.Container{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, PassSignals: true}
	if c.Process, err = o.process(env, config); err != nil {
		return err
	}
	if c.Mounts, err = o.mounts(env); err != nil {
		return err
	}
	freshProc(c.Mounts)
	e := emulate.Options{
		Mode: o.force, Level: emulate.Level(env.log), KeepSync: true, Log: env.log,
		User: fakeroot.Credentials{UID: c.Process.User.UID, GID: c.Process.User.GID, Groups: []uint32{c.Process.User.GID}},
	}
	if e.Owners, err = imageOwners(ctx, env, o, im); err != nil {
		return err
	}
	st, err := o.runIn(ctx, c, e, im)
	if err == nil && st.Exit() != 0 {
		err = &statusError{code: st.Exit()}
	}
	return err
}

// runIn mounts the image and runs the program. Owners that it changed are
// recorded with --write, and otherwise forgotten like everything else.
func (o *runOptions) runIn(ctx context.Context, c unpriv.Container, e emulate.Options, im *unpriv.Image) (unpriv.Status, error) {
	if o.write {
		c.Root = im.Lower[0]
		e.Changed, e.InPlace = c.Root, true
		st, table, err := emulate.Run(ctx, c, e)
		if table != nil {
			if werr := layer.WriteRootless(c.Root, table); err == nil {
				err = werr
			}
		}
		return st, err
	}
	root, upper, err := unpriv.MountImage(im.Lower)
	if err != nil {
		return unpriv.Status{}, err
	}
	defer upper.Close()
	c.Root, c.ReadOnly = root, !o.writeFake && !o.home
	e.Changed = fmt.Sprintf("/proc/self/fd/%d", upper.Fd())
	st, _, err := emulate.Run(ctx, c, e)
	return st, err
}

// process is what runs.
func (o *runOptions) process(env *environment, config *image.RunConfig) (p specs.Process, err error) {
	if p.Args, err = o.args(config); err != nil {
		return p, err
	}
	p.User = specs.User{UID: uint32(o.uid), GID: uint32(o.gid)}
	p.Cwd = o.cd
	if p.Cwd == "" {
		p.Cwd = config.WorkingDir
	}
	p.Env, err = o.environ(env, config)
	return p, err
}

// imageOwners are the records of an image in storage, or of a directory.
func imageOwners(ctx context.Context, env *environment, o *runOptions, im *unpriv.Image) (fakeroot.Table, error) {
	if len(o.chain) == 0 {
		return layer.ReadRootless(ctx, im.Lower[0])
	}
	store, err := env.openStorage(ctx)
	if err != nil {
		return nil, err
	}
	defer env.closeStorage(store)
	return build.Owners(store, o.chain)
}

// freshProc has /proc show the container's processes.
func freshProc(mounts []specs.Mount) {
	for i, m := range mounts {
		if m.Destination != "/proc" {
			continue
		}
		for _, b := range unpriv.BuildMounts() {
			if b.Destination == "/proc" {
				mounts[i] = b
			}
		}
	}
}
