package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"virga/exchange"
	"virga/image"
	"virga/storage"
	"virga/trust"
)

// buildOutput is a --output of build: a file, or for type image further names.
type buildOutput struct {
	form  string // one of saveFormats, or "image"
	dest  string // absolute; "" is standard output
	names []image.Reference
	push  bool
}

// outputTypes are the types of --output and the form that save calls the same.
var outputTypes = map[string]string{
	"tar": "tar", "local": "dir", "docker": "docker", "oci": "oci", "squashfs": "squashfs", "image": "image", "registry": "image",
}

// outputTypeNames are those of outputTypes that messages name, in their order.
var outputTypeNames = []string{"tar", "local", "docker", "oci", "squashfs", "image"}

// parseOutputs reads --output options as docker buildx does: DIR, -, or
// type=TYPE,K=V... with the quotes of CSV.
func parseOutputs(env *environment, list []string) ([]buildOutput, error) {
	var out []buildOutput
	stdout := 0
	for _, s := range list {
		o, err := parseOutput(env, s)
		if err != nil {
			return nil, err
		}
		if o.form != "image" && o.dest == "" {
			stdout++
		}
		out = append(out, o)
	}
	if stdout > 1 {
		return nil, usagef("build: more than one --output goes to standard output")
	}
	if stdout == 1 && isTerminal(env.stdout) {
		return nil, &usageError{msg: "build: --output: standard output is a terminal", hint: "dest=FILE writes to a file"}
	}
	return out, nil
}

func parseOutput(env *environment, s string) (buildOutput, error) {
	if s == "-" {
		return buildOutput{form: "tar"}, nil
	}
	if !strings.Contains(s, "=") {
		if s == "" {
			return buildOutput{}, usagef("build: --output is empty")
		}
		return buildOutput{form: "dir", dest: env.abs(s)}, nil
	}
	fields, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return buildOutput{}, usagef("build: --output %q: %v", s, err)
	}
	var o buildOutput
	for _, f := range fields {
		if err := o.set(env, s, f); err != nil {
			return o, err
		}
	}
	return o, o.check(s)
}

func (o *buildOutput) set(env *environment, s, field string) error {
	key, value, _ := strings.Cut(field, "=")
	var err error
	switch key {
	case "type":
		if o.form = outputTypes[value]; o.form == "" {
			return notOneOf(fmt.Sprintf("build: --output %q: type", s), value, outputTypeNames)
		}
		o.push = o.push || value == "registry"
	case "dest":
		if value != "-" {
			o.dest = env.abs(value)
		}
	case "name":
		o.names, err = parseReferences(strings.Split(value, ","))
	case "push":
		if o.push, err = strconv.ParseBool(value); err != nil {
			err = usagef("build: --output %q: push=%s is not true or false", s, value)
		}
	default:
		return notOneOf(fmt.Sprintf("build: --output %q: the key", s), key, []string{"type", "dest", "name", "push"})
	}
	return err
}

func (o *buildOutput) check(s string) error {
	switch {
	case o.form == "":
		return usagef("build: --output %q: no type", s)
	case o.form != "image" && o.push:
		return usagef("build: --output %q: push is for type image", s)
	case o.form == "image" && o.dest != "":
		return usagef("build: --output %q: an image in storage has no dest", s)
	case (o.form == "dir" || o.form == "squashfs") && o.dest == "":
		return usagef("build: --output %q: dest is missing", s)
	}
	return nil
}

// outputNames are the names that outputs of type image give the image.
func outputNames(list []buildOutput) []image.Reference {
	var names []image.Reference
	for _, o := range list {
		if o.form == "image" {
			names = append(names, o.names...)
		}
	}
	return names
}

// writeOutputs writes what --output asks for. tags are the image's names; key
// signs how it was built, nil: nobody does.
func writeOutputs(ctx context.Context, env *environment, x *exchange.Exchange, list []buildOutput, img *storage.Image, tags []image.Reference, key *trust.Signer) error {
	for _, o := range list {
		if o.form == "image" {
			if err := pushOutput(ctx, env, x, o, img, tags, key); err != nil {
				return err
			}
			continue
		}
		names := tags
		if len(o.names) > 0 {
			names = o.names
		}
		if err := saveImages(ctx, env, x, []exchange.Named{{Image: img, Names: names}}, o.form, o.dest, nil); err != nil {
			return err
		}
		if o.dest != "" {
			env.log.Info("written: " + o.dest)
		}
	}
	return nil
}

func pushOutput(ctx context.Context, env *environment, x *exchange.Exchange, o buildOutput, img *storage.Image, tags []image.Reference, key *trust.Signer) error {
	if !o.push {
		return nil
	}
	names := o.names
	if len(names) == 0 {
		names = tags
	}
	for _, n := range names {
		p, err := pushImage(ctx, env, x, img, n, exchange.PushOptions{}, key, exchange.SignBoth)
		if err != nil {
			return err
		}
		env.log.Info(fmt.Sprintf("pushed %s (%s)", n, shortID(p.Digest)))
	}
	return nil
}

// toStdout reports whether one of the outputs is standard output.
func toStdout(list []buildOutput) bool {
	return slices.ContainsFunc(list, func(o buildOutput) bool { return o.form != "image" && o.dest == "" })
}
