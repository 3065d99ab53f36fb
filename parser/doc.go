// Package parser turns the text of a Dockerfile into a typed syntax tree in which everything knows where it was written.
//
// The language is that of Docker's current reference (BuildKit's frontend, syntax 1), plus Charliecloud's RSYNC. The
// package reads text and nothing else: it knows no files, images or processes. What a variable is worth, and what an
// instruction does, is the caller's affair; see [Lookup] and the Expand methods.
//
//	f, err := parser.Parse("Dockerfile", src)
//	if err != nil { // an ErrorList: every error of the file
//		return err
//	}
//	for _, stage := range f.Stages {
//		for _, in := range stage.Instructions {
//			in, unset, err := in.Expand(lookup)
//			...
//		}
//	}
//
// # Which fields are expanded
//
// Words are kept as written. [Instruction.Expand] returns a copy with these fields replaced by their values:
//
//	FROM         --platform, the image (caller: only ARGs before the first FROM, and the predefined platform ARGs)
//	ARG          default values, from left to right; names never
//	ENV, LABEL   names and values, all seeing the state before the instruction
//	COPY, ADD    --chown, --chmod, --checksum, sources, destination, bodies of unquoted heredocs; not --from, --exclude
//	RUN          values of --mount options (from= excepted: it may not hold variables); never the command
//	WORKDIR, USER, VOLUME, STOPSIGNAL, RSYNC
//	             every word
//	EXPOSE       every word; one word may become several
//	CMD, ENTRYPOINT, HEALTHCHECK, SHELL, MAINTAINER, ONBUILD
//	             nothing
package parser
