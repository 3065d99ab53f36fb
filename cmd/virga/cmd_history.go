package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"virga/image"
)

func historyCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "history",
		Usage:     "print how an image was made",
		ArgsUsage: "REF",
		Description: `A line for each instruction, the last one first: the layer it made, its time, the
bytes of files in the layer, and the instruction. Layers of one pulled image
are one tree in storage; theirs is the compressed size, marked with z.`,
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "REF"); err != nil {
				return err
			}
			return runHistory(c.Context, env, c.Args().First())
		},
	}
}

func runHistory(ctx context.Context, env *environment, ref string) error {
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
	return printHistory(env.stdout, c.History, layers)
}

// printHistory pairs the entries that made a layer with the layers. Layers
// that the history does not mention are at the bottom, as they are in images
// whose history was cut.
func printHistory(w io.Writer, history []image.History, layers []imageLayer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "LAYER\tCREATED\tSIZE\tCREATED BY")
	next := len(layers)
	for i := len(history) - 1; i >= 0; i-- {
		h := history[i]
		id, size := "-", "0B"
		if !h.EmptyLayer && next > 0 {
			next--
			id, size = layerID(layers[next]), layerSize(layers[next])
		}
		created := "-"
		if h.Created != nil {
			created = h.Created.UTC().Format("2006-01-02 15:04:05")
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", id, created, size, oneLine(h.CreatedBy, h.Comment))
	}
	for next--; next >= 0; next-- {
		fmt.Fprintf(tw, "%s\t-\t%s\t%s\n", layerID(layers[next]), layerSize(layers[next]), "(not in the history)")
	}
	return tw.Flush()
}

func layerID(l imageLayer) string {
	if l.diffID == "" {
		return "-"
	}
	return shortID(l.diffID)
}

func layerSize(l imageLayer) string {
	switch {
	case l.bytes >= 0:
		return humanSize(l.bytes)
	case l.packed > 0:
		return humanSize(l.packed) + "z"
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
