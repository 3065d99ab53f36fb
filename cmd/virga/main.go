package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ends := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if !signal.Ignored(s) { // nohup(1), and a shell's background jobs
			ends = append(ends, s)
		}
	}
	// It is not stopped: that takes a few switches between threads for each
	// signal, and the process ends at once.
	ctx, _ := signal.NotifyContext(context.Background(), ends...)
	os.Exit(run(ctx, processEnvironment(), os.Args))
}
