package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"virga/image"
)

func historyCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "history",
		Usage:     "print how an image was made",
		ArgsUsage: "REF",
		Description: `A line for each instruction, the last one first: the layer it made, its age, the
bytes of files in the layer, and the instruction. Layers of one pulled image
are one tree in storage; theirs is the compressed size, marked with z.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Usage: "print each instruction as `F`: json, or a Go template"},
			&cli.BoolFlag{Name: "human", Aliases: []string{"H"}, Value: true, Usage: "print sizes with units and ages; =false: bytes and times"},
			&cli.BoolFlag{Name: "no-trunc", Usage: "print layers' digests whole"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "REF"); err != nil {
				return err
			}
			return runHistory(c.Context, env, c.Args().First(), c.String("format"), historyStyle{whole: c.Bool("no-trunc"), human: c.Bool("human")})
		},
	}
}

// historyStyle says how the values of a history are written.
type historyStyle struct {
	whole bool // digests
	human bool // sizes with units, and ages in the table
}

func runHistory(ctx context.Context, env *environment, ref, format string, style historyStyle) error {
	st, err := env.openStorage(ctx)
	if err != nil {
		return err
	}
	defer env.closeStorage(st)
	img, err := findImage(st, ref)
	if err != nil {
		return err
	}
	c, err := st.Config(&img)
	if err != nil {
		return err
	}
	layers, err := layersOf(st, img)
	if err != nil {
		return err
	}
	rows := historyRows(c.History, layers, style)
	switch {
	case env.globals.verbosity < 0:
		for _, r := range rows {
			fmt.Fprintln(env.stdout, r.ID)
		}
		return nil
	case format != "" && format != "table":
		return printRows(env.stdout, rows, format, "history")
	}
	return printHistory(env.stdout, rows, style.human)
}

// historyRow is an instruction. The names of the members are those of `docker
// history --format`.
type historyRow struct {
	ID           string // of the layer, "-" if it made none
	CreatedAt    string
	CreatedSince string
	CreatedBy    string
	Size         string
	Comment      string
}

// historyRows pairs the entries that made a layer with the layers, the last
// one first. Layers that the history does not mention are at the bottom, as
// they are in images whose history was cut.
func historyRows(history []image.History, layers []imageLayer, style historyStyle) []historyRow {
	var rows []historyRow
	id := func(l imageLayer) string {
		if style.whole && l.diffID != "" {
			return l.diffID.String()
		}
		return layerID(l)
	}
	next := len(layers)
	for i := len(history) - 1; i >= 0; i-- {
		h := history[i]
		r := historyRow{ID: "-", CreatedAt: "-", CreatedSince: "-", CreatedBy: oneLine(h.CreatedBy), Size: style.size(0), Comment: oneLine(h.Comment)}
		if !h.EmptyLayer && next > 0 {
			next--
			r.ID, r.Size = id(layers[next]), style.layerSize(layers[next])
		}
		if h.Created != nil {
			r.CreatedAt = h.Created.UTC().Format(time.RFC3339)
			r.CreatedSince = humanAge(time.Since(*h.Created))
		}
		rows = append(rows, r)
	}
	for next--; next >= 0; next-- {
		rows = append(rows, historyRow{ID: id(layers[next]), CreatedAt: "-", CreatedSince: "-", CreatedBy: "(not in the history)", Size: style.layerSize(layers[next])})
	}
	return rows
}

func printHistory(w io.Writer, rows []historyRow, human bool) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "LAYER\tCREATED\tSIZE\tCREATED BY")
	for _, r := range rows {
		created := r.CreatedAt
		if human {
			created = r.CreatedSince
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", r.ID, created, r.Size, strings.TrimSpace(r.CreatedBy+" "+r.Comment))
	}
	return tw.Flush()
}

func layerID(l imageLayer) string {
	if l.diffID == "" {
		return "-"
	}
	return shortID(l.diffID)
}

func (s historyStyle) size(n int64) string {
	if s.human {
		return humanSize(n)
	}
	return strconv.FormatInt(n, 10)
}

func (s historyStyle) layerSize(l imageLayer) string {
	switch {
	case l.bytes >= 0:
		return s.size(l.bytes)
	case l.packed > 0:
		return s.size(l.packed) + "z"
	default:
		return "-"
	}
}

// oneLine is an instruction in one line: blanks are squeezed, control
// characters replaced, so that a table stays one and no image can drive the
// terminal.
func oneLine(parts ...string) string {
	s := strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
