package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"
	"time"

	"github.com/urfave/cli/v2"

	"virga/storage"
)

func duCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "du",
		Usage: "show what storage takes on disk",
		Description: `A table of what there is: its number, how many of it are in use, its size, and
what "virga prune -a" would free. With --verbose each object is listed.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Value: "table", Usage: "print each line as `F`: json, table, or a Go template"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, ""); err != nil {
				return err
			}
			return runDu(c.Context, env, c.String("format"))
		},
	}
}

func runDu(ctx context.Context, env *environment, format string) error {
	st, err := env.openStorage(ctx)
	if err != nil {
		return err
	}
	defer env.closeStorage(st)
	u, err := st.Du(ctx)
	if err != nil {
		return err
	}
	verbose := env.globals.verbosity > 0
	switch {
	case format == "table" && verbose:
		return printUsageDetails(env.stdout, u, time.Now())
	case format == "table":
		return printUsage(env.stdout, u)
	case verbose:
		return printRows(env.stdout, duObjects(u), format, "du")
	}
	return printRows(env.stdout, duRows(u), format, "du")
}

// duRow is a line of du. Type, TotalCount, Active, Size and Reclaimable are
// those of `docker system df --format`; the others are for programs.
type duRow struct {
	Type             string
	TotalCount       int
	Active           int
	Size             string
	Reclaimable      string
	Bytes            int64
	ReclaimableBytes int64
}

func duRows(u *storage.Usage) []duRow {
	var out []duRow
	for _, i := range []struct {
		name string
		storage.Item
	}{
		{"Images", u.Images}, {"Build Cache", u.Cache}, {"Cache Mounts", u.Mounts}, {"Unused", u.Unused}, {"In Progress", u.Work},
	} {
		r := duRow{
			Type: i.name, TotalCount: i.Count, Active: i.Active, Size: humanSize(i.Bytes), Reclaimable: humanSize(i.Reclaimable),
			Bytes: i.Bytes, ReclaimableBytes: i.Reclaimable,
		}
		if i.Bytes > 0 {
			r.Reclaimable += fmt.Sprintf(" (%d%%)", i.Reclaimable*100/i.Bytes)
		}
		out = append(out, r)
	}
	return out
}

func printUsage(w io.Writer, u *storage.Usage) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "TYPE\tTOTAL\tACTIVE\tSIZE\tRECLAIMABLE")
	for _, r := range duRows(u) {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%s\t%s\n", r.Type, r.TotalCount, r.Active, r.Size, r.Reclaimable)
	}
	total, free := u.Total()
	fmt.Fprintf(tw, "Total\t\t\t%s\t%s\n", humanSize(total), humanSize(free))
	return tw.Flush()
}

// printUsageDetails lists every object: images with what they share, states
// and cache directories with their last use.
func printUsageDetails(w io.Writer, u *storage.Usage, now time.Time) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprint(tw, "Images:\n\nREFERENCE\tIMAGE ID\tSIZE\tSHARED SIZE\tUNIQUE SIZE\tIN USE\n")
	for _, i := range u.ByImage {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%v\n", i.Image.Ref, shortID(i.Image.ID), humanSize(i.Size), humanSize(i.Shared), humanSize(i.Unique), i.Active)
	}
	fmt.Fprint(tw, "\nBuild cache:\n\nCACHE ID\tSIZE\tLAST USED\tIN USE\tINSTRUCTION\n")
	for _, s := range u.ByState {
		fmt.Fprintf(tw, "%.12s\t%s\t%s\t%v\t%s\n", s.Key, humanSize(s.Bytes), humanAge(now.Sub(s.LastUsed)), s.Active, instructionText(s, 60))
	}
	fmt.Fprint(tw, "\nCache mounts:\n\nID\tSIZE\tLAST USED\tIN USE\n")
	for _, m := range u.ByMount {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%v\n", m.ID, humanSize(m.Bytes), humanAge(now.Sub(m.LastUsed)), m.Active)
	}
	fmt.Fprint(tw, "\nSummary:\n\n")
	if err := tw.Flush(); err != nil {
		return err
	}
	return printUsage(w, u)
}

// instructionText is a state's instruction in at most n characters.
func instructionText(s storage.StateUsage, n int) string {
	text := strings.Join(strings.Fields(s.Instruction), " ")
	if t, ok := strings.CutPrefix(text, "RUN /bin/sh -c "); ok {
		text = "RUN " + t
	}
	if r := []rune(text); len(r) > n {
		text = string(r[:n-1]) + "…"
	}
	return text
}

// duObject is an object as --verbose lists it for programs.
type duObject struct {
	Type        string // image, cache or mount
	ID          string
	Name        string // reference, instruction, or the mount's id
	Bytes       int64
	UniqueBytes int64
	LastUsed    *time.Time `json:",omitempty"`
	InUse       bool
	Images      []string `json:",omitempty"` // for cache: which images it is part of
}

func duObjects(u *storage.Usage) []duObject {
	var out []duObject
	for _, i := range u.ByImage {
		out = append(out, duObject{Type: "image", ID: i.Image.ID.String(), Name: i.Image.Ref, Bytes: i.Size, UniqueBytes: i.Unique, InUse: i.Active})
	}
	for _, s := range u.ByState {
		out = append(out, duObject{Type: "cache", ID: s.Key, Name: s.Instruction, Bytes: s.Bytes, UniqueBytes: s.Bytes, LastUsed: &s.LastUsed, InUse: s.Active, Images: s.Images})
	}
	for _, m := range u.ByMount {
		out = append(out, duObject{Type: "mount", ID: m.ID, Name: m.ID, Bytes: m.Bytes, UniqueBytes: m.Bytes, LastUsed: &m.LastUsed, InUse: m.Active})
	}
	return out
}

// printRows prints values as --format says: json, one a line, or with a Go
// template, in which \t and \n are what they say, as in docker's.
func printRows[R any](w io.Writer, rows []R, format, command string) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, r := range rows {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	t, err := template.New("--format").Funcs(templateFuncs).Parse(strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format))
	if err != nil {
		return usagef("%s: %v", command, err)
	}
	for _, r := range rows {
		if err := t.Execute(w, r); err != nil {
			return usagef("%s: %v", command, err)
		}
		fmt.Fprintln(w)
	}
	return nil
}
