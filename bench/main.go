package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const usage = "usage: bench run [OPTION...] | list | check [DIR] | plot [DIR [OUTDIR]] | tree DIR FILES BYTES | image DIR FILES BYTES LAYERS"

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func dispatch(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	command, args := args[0], args[1:]
	switch {
	case command == "run":
		return measureAll(args)
	case command == "list" && len(args) == 0:
		for _, c := range allCases() {
			fmt.Printf("%-24s %s\n", c.name, c.title)
		}
		return nil
	case command == "check" && len(args) <= 1:
		return checkNewest(argument(args, 0, "bench"))
	case command == "plot" && len(args) <= 2:
		return plotNewest(filepath.Join(argument(args, 0, "bench"), "results"), argument(args, 1, "docs/img"))
	case command == "tree" && len(args) == 3, command == "image" && len(args) == 4:
		var n []int
		for _, a := range args[1:] {
			v, err := strconv.Atoi(a)
			if err != nil || v <= 0 {
				return fmt.Errorf("%s: %q is not a positive number", command, a)
			}
			n = append(n, v)
		}
		if command == "tree" {
			return makeTree(args[0], n[0], n[1])
		}
		return makeImage(args[0], n[0], n[1], n[2])
	}
	return errors.New(usage)
}

func argument(args []string, i int, otherwise string) string {
	if i < len(args) {
		return args[i]
	}
	return otherwise
}

// measureAll is bench run.
func measureAll(args []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	var (
		cases  = flags.String("case", "", "measure the cases `GLOB`, a name, its beginning or a pattern, several by commas")
		tools  = flags.String("tool", "", "run only the tools `NAMES`, several by commas")
		rounds = flags.Int("rounds", 5, "count `N` rounds, after one that is not counted")
		quick  = flags.Bool("quick", false, "small images, and no case that needs the large ones")
		cache  = flags.String("cache", "", "the images are in `DIR`")
		work   = flags.String("work", "", "work in `DIR`, which is made and removed")
		virga  = flags.String("virga", "bin/virga", "measure the program `FILE`")
		out    = flags.String("out", "bench/results", "write the results to `DIR`")
		needs  = flags.Bool("needs", false, "only say which images are needed")
		commit = flags.String("commit", "", "virga was built from `COMMIT`")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if !*needs && (*cache == "" || *work == "") || *rounds < 0 || flags.NArg() > 0 {
		return errors.New("run: -cache and -work are needed, -rounds is at least 0")
	}
	chosen := choose(*cases, *quick)
	if *tools != "" {
		chosen = only(chosen, strings.Split(*tools, ","))
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no case matches %q: bench list", *cases)
	}
	if *needs {
		fmt.Println(strings.Join(images(chosen), " "))
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := filepath.Abs(*virga)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w, err := newWorkspace(ctx, *work, *cache, program, self, *quick)
	if w != nil {
		defer w.close()
	}
	if err != nil {
		return err
	}
	s := &session{w: w, rounds: *rounds, quick: *quick, commit: *commit, log: os.Stderr}
	return s.all(ctx, chosen, *out)
}

// all measures cases and saves after each, so that a session that is cut short
// leaves what it has.
func (s *session) all(ctx context.Context, cases []benchCase, out string) error {
	date := time.Now().Format(time.DateOnly)
	r, err := load(filepath.Join(out, date+".json"))
	if err != nil {
		return err
	}
	r.Machine, r.Versions = thisMachine(s.w.dir), versions(s.w.vars["VIRGA"])
	var failed error
	for i := range cases {
		c := s.measure(ctx, &cases[i])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.put(c)
		if err := r.save(out, date); err != nil {
			return err
		}
		if c.subject() == nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %s: %s", c.Name, c.Tools[0].Name, c.Tools[0].Error))
		}
	}
	return failed
}

// checkNewest is bench check.
func checkNewest(dir string) error {
	file, err := newest(filepath.Join(dir, "results"))
	if err != nil {
		return err
	}
	r, err := load(file)
	if err != nil {
		return err
	}
	budgets, err := readBudgets(filepath.Join(dir, "budgets"))
	if err != nil {
		return err
	}
	if !check(os.Stdout, r, budgets) {
		return fmt.Errorf("%s: budgets are missed", file)
	}
	return nil
}
