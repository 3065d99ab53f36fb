package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"

	"virga/parser"
	"virga/progress"
	"virga/storage"
)

// completeCommand is the hidden command that the completion scripts call, with
// the words after "virga" up to the one that is being typed:
//
//	virga __complete build --target ''
//
// The first line of its answer says what else fits, a fileKind; a line follows
// for each word that fits: the word, a tab, what it means. The shells choose
// those that begin with what was typed.
const completeCommand = "__complete"

// fileKind is which names of files a shell adds to the words.
type fileKind string

const (
	noFiles     fileKind = "words"
	allFiles    fileKind = "files"
	directories fileKind = "directories"
)

// completion is a command line that is being typed.
type completion struct {
	env   *environment
	app   *cli.App
	typed *normalizer // what stands before the word
	files fileKind
	words []candidate
}

// candidate is a word that fits, and what it means.
type candidate struct{ word, text string }

// runComplete answers a completion script. What cannot be found out is left
// out: nobody wants errors while typing.
func runComplete(ctx context.Context, env *environment, app *cli.App, words []string) error {
	if len(words) == 0 {
		words = []string{""}
	}
	env.log = slog.New(slog.DiscardHandler)
	last := len(words) - 1
	c := &completion{env: env, app: app, typed: readTyped(app, words[:last]), files: noFiles}
	env.globals.storage = c.typed.value("storage")
	env.globals.noLock = c.typed.value("no-lock") != ""
	c.word(ctx, words[last])
	return c.print(env.stdout)
}

// readTyped reads words of a command line that is not complete. What is wrong
// in it counts as if it were not there.
func readTyped(app *cli.App, words []string) *normalizer {
	n := &normalizer{app: app, global: newOptionTable(app.Flags), rest: words}
	for len(n.rest) > 0 {
		_ = n.next() // an error will be told when the line is run
	}
	return n
}

// value is the last value of an option, under its first name; "" if it is not
// there.
func (n *normalizer) value(name string) string {
	v := ""
	for _, o := range slices.Concat(n.globals, n.options) {
		if s, ok := strings.CutPrefix(o, "--"+name+"="); ok {
			v = s
		}
	}
	return v
}

func (c *completion) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintln(&b, c.files)
	for _, one := range c.words {
		fmt.Fprintf(&b, "%s\t%s\n", one.word, progress.Clean(oneLine(one.text)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *completion) add(word, text string) { c.words = append(c.words, candidate{word, text}) }

// word finds what may stand for the word that begins with cur.
func (c *completion) word(ctx context.Context, cur string) {
	n := c.typed
	name, _, attached := strings.Cut(cur, "=")
	switch {
	case n.pending != nil:
		c.value(ctx, n.pending.flag, "", cur)
	case n.ended && n.command != nil && takesProgram(n.command) && len(n.arguments) > 0:
		c.files = allFiles // a program's own words
	case n.ended || !strings.HasPrefix(cur, "-"):
		c.argument(ctx, cur)
	case strings.HasPrefix(cur, "--") && attached:
		if o, _, ok := n.find(name[2:]); ok {
			c.value(ctx, o.flag, name+"=", strings.TrimPrefix(cur, name+"="))
		}
	default:
		c.options()
	}
}

// options are all that may stand here, the command's first.
func (c *completion) options() {
	flags := c.app.Flags
	if c.typed.command != nil {
		flags = slices.Concat(c.typed.command.Flags, flags)
	}
	for _, f := range flags {
		_, text := flagUsage(f)
		for _, name := range f.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			c.add(dashes+name, text)
		}
	}
}

// value finds values of an option; each word begins with prefix.
func (c *completion) value(ctx context.Context, f cli.Flag, prefix, cur string) {
	before := len(c.words)
	if values := flagValues(f); values != nil {
		c.literal(values)
	} else {
		placeholder, _ := flagUsage(f)
		c.place(ctx, placeholder, cur)
	}
	for i := before; i < len(c.words); i++ {
		c.words[i].word = prefix + c.words[i].word
	}
}

// argument finds what may stand for the next argument, or the command.
func (c *completion) argument(ctx context.Context, cur string) {
	if c.typed.command == nil {
		c.commands()
		return
	}
	places := strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(c.typed.command.ArgsUsage))
	i := len(c.typed.arguments)
	if i >= len(places) && len(places) > 0 && strings.HasSuffix(places[len(places)-1], "...") {
		i = len(places) - 1
	}
	if i >= len(places) {
		return
	}
	place := strings.TrimSuffix(places[i], "...")
	if strings.ToLower(place) == place {
		c.literal(strings.Split(place, "|"))
		return
	}
	if c.typed.command.Name == "undelete" {
		place = "DELETED"
	}
	c.place(ctx, place, cur)
}

// place finds what fits a placeholder of help. A placeholder that is not known
// here stands for what only the user knows.
func (c *completion) place(ctx context.Context, placeholder, cur string) {
	first := placeholder
	if i := strings.IndexFunc(placeholder, func(r rune) bool { return !unicode.IsUpper(r) }); i >= 0 {
		first = placeholder[:i]
	}
	switch first {
	case "COMMAND":
		c.commands()
	case "FEATURE":
		c.literal(gestaltFeatures)
	case "STAGE":
		c.stages()
	case "REF", "GLOB", "DST", "TAG":
		c.images(ctx, (*storage.Store).Images)
	case "DELETED":
		c.images(ctx, (*storage.Store).Deleted)
	case "SRC": // of tag and modify; of --bind it is SRC[:DST[:ro]]
		if placeholder != first {
			c.files = allFiles
			break
		}
		c.images(ctx, (*storage.Store).Images)
	case "IMAGE", "IN", "OUT":
		c.files = allFiles
		if !strings.HasPrefix(cur, ".") && !strings.HasPrefix(cur, "/") {
			c.images(ctx, (*storage.Store).Images)
		}
	case "FILE", "PATH", "SCRIPT", "CONTEXT", "SPEC":
		c.files = allFiles
	case "DIR":
		c.files = directories
	}
}

func (c *completion) literal(words []string) {
	for _, w := range words {
		c.add(w, "")
	}
}

func (c *completion) commands() {
	for _, one := range c.app.Commands {
		for _, name := range one.Names() {
			c.add(name, one.Usage)
		}
	}
}

// images are those in storage, which is not made for that.
func (c *completion) images(ctx context.Context, find func(*storage.Store) ([]storage.Image, error)) {
	dir, err := c.env.storageDir()
	if err != nil || !exists(dir) {
		return
	}
	st, err := c.env.openStorage(ctx)
	if err != nil {
		return
	}
	defer c.env.closeStorage(st)
	images, err := find(st)
	if err != nil {
		return
	}
	slices.SortFunc(images, func(a, b storage.Image) int { return cmp.Compare(a.Ref, b.Ref) })
	for _, img := range images {
		row := newImageRow(img)
		c.add(row.Reference, row.Size)
	}
}

// stages are the named ones of the Dockerfile that the line is about. A context
// that is not there yet will be the working directory.
func (c *completion) stages() {
	dir := "."
	if len(c.typed.arguments) > 0 {
		dir = c.typed.arguments[0]
	}
	text, err := c.dockerfile(c.env.abs(dir), c.typed.value("file"))
	if err != nil {
		return
	}
	f, err := parser.Parse("", text)
	if err != nil {
		return
	}
	for _, s := range f.Stages {
		if s.Name() != "" {
			c.add(s.Name(), "FROM "+s.From.Image.String())
		}
	}
}

// dockerfile reads the file that --file names, or the one in the directory dir,
// as build finds it.
func (c *completion) dockerfile(dir, name string) ([]byte, error) {
	names := []string{filepath.Join(dir, "Dockerfile"), filepath.Join(dir, "Containerfile")}
	if name != "" {
		names = []string{c.env.abs(name), filepath.Join(dir, name)}
	}
	for _, name := range names {
		// What is no regular file, such as a pipe, is not for a look.
		if fi, err := os.Stat(name); err != nil || !fi.Mode().IsRegular() {
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readLimited(f)
	}
	return nil, errors.ErrUnsupported
}
