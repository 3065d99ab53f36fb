// Package emulate runs a program in a container with root emulated: it puts a
// filter and a supervisor of fakeroot around a container of unpriv.
//
//	status, table, err := emulate.Run(ctx, container, emulate.Options{
//		Mode: fakeroot.ModeSeccomp, Level: level, Owners: owners, Changed: upper,
//	})
package emulate

import (
	"context"
	"log/slog"
	"os"

	"virga/fakeroot"
	"virga/unpriv"
)

// Options say how root is emulated.
type Options struct {
	Mode  fakeroot.Mode // one that filters; others run the container as it is
	Level fakeroot.Level
	// Owners are the records of the files in the container's root.
	Owners fakeroot.Table
	// Changed is the directory that takes what is changed: the overlay's upper
	// directory or, with InPlace, the root itself. "" says that nothing can be
	// changed, or that nobody asks what was.
	Changed string
	InPlace bool
	// KeepSync lets fsync(2) and its family through.
	KeepSync bool
	User     fakeroot.Credentials // who the program is; zero is root
	Log      *slog.Logger         // for --debug; nil is silence
}

// Level is how well this kernel lets root be emulated. It is told if it is not
// the best.
func Level(log *slog.Logger) fakeroot.Level {
	level, why := fakeroot.Probe()
	if why != "" {
		log.Info("root emulation: " + level.String() + ": " + why)
	}
	return level
}

// Run runs c as [unpriv.Run] does. table has the records of the files that are
// in Changed afterwards, against Owners, as in [fakeroot.Records.Collect]; it is nil
// if nothing was recorded.
func Run(ctx context.Context, c unpriv.Container, o Options) (st unpriv.Status, table fakeroot.Table, err error) {
	po := fakeroot.ProgramOptions{Mode: o.Mode, Level: o.Level, KeepSync: o.KeepSync}
	if c.Filter, err = fakeroot.Program(po); err != nil {
		return st, nil, err
	}
	if nr, args, ok := fakeroot.SelfTest(); ok && c.Filter != nil {
		c.SelfTest = &unpriv.Call{Nr: nr, Args: args}
	}
	if c.Filter == nil || !po.Notifies() {
		st, err = unpriv.Run(ctx, c)
		return st, nil, err
	}
	return supervised(ctx, c, o)
}

func supervised(ctx context.Context, c unpriv.Container, o Options) (st unpriv.Status, table fakeroot.Table, err error) {
	root, err := os.Open(c.Root)
	if err != nil {
		return st, nil, err
	}
	defer root.Close()
	proc, err := os.Open("/proc")
	if err != nil {
		return st, nil, err
	}
	defer proc.Close()
	so := fakeroot.Options{Mode: o.Mode, Level: o.Level, Records: fakeroot.NewRecords(), Proc: proc, User: o.User, Log: o.Log}
	if o.Changed != "" {
		if so.Upper, err = os.Open(o.Changed); err != nil {
			return st, nil, err
		}
		defer so.Upper.Close()
	}
	if err := so.Records.Load(root, o.Owners, o.InPlace); err != nil {
		return st, nil, err
	}
	sup, err := fakeroot.New(so)
	if err != nil {
		return st, nil, err
	}
	c.Supervise = sup.Serve
	if st, err = unpriv.Run(ctx, c); err != nil || so.Upper == nil {
		return st, nil, err
	}
	table, err = so.Records.Collect(so.Upper, root, o.Owners)
	return st, table, err
}
