// Package build runs a parsed Dockerfile: it orders the stages, finds for each
// instruction whether its result is known, executes those that are not, and
// writes down the image. The meaning of instructions is that of Docker's
// reference for the dockerfile frontend (docker/dockerfile 1.x).
//
// A stage's file system and its configuration are kept apart. The file system
// has a key: the digest of everything that made it (base layers, then for
// each RUN, COPY, ADD and WORKDIR the operation and what it read). The
// configuration is computed anew each time, because that costs nothing, so
// ENV, LABEL and the like are never "cached", and a changed ENV only misses
// where a RUN sees it.
//
// The package expects to run in the namespaces that [virga/unpriv] makes:
// it mounts, and it is uid 0 there.
package build
