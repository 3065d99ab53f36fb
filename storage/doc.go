// Package storage keeps virga's storage directory: blobs, trees, images, the
// build cache's records, and work in progress, as plain files that many
// processes, also of several machines, use at once.
//
//	STORAGE/
//	  version                  the format's number
//	  oci-layout, index.json,  an OCI image layout: manifests and configurations of all images that
//	  blobs/sha256/            have them, layers as pulled or as packed for a push
//	  trees/<id>/              fs/ (the files), owners.json, tree.json; never changed but for tree.json
//	  images/<name>.json       reference → chain of trees and configuration; .deleted/ holds the deleted
//	  img/<name>               link to the files of an image that is one tree, for other tools
//	  cache/<2 hex>/<key>.json build states
//	  mounts/<id>/             directories of RUN --mount=type=cache
//	  notes/                   small files that cost only time when lost
//	  lock, locks/             lock files
//	  tmp/<owner>/             what one process is making, and pins on what it uses
//
// # Durability
//
// Everything is made in tmp/ and renamed into place when it is whole, so that
// a killed process leaves nothing half made outside tmp/, and that is removed
// by whoever comes next. Against a crash of the machine, files are not synced
// one by one: a record names the boot it was written in until [Store.Sync]
// has written the whole file system out, and is not believed after another
// boot. Images are the exception, their records are synced themselves.
//
// # Locks
//
// There is one lock on the directory, POSIX (fcntl(2)) so that it works
// across machines. [Store.Collect] takes it alone, for the moments in which
// it decides and renames, and so does who changes an image's record; pinning
// shares it. Reading takes none. [Store.KeyLock] is for callers that want to do something only once;
// it may be held for long and nothing in this package waits for one.
//
// # Pins
//
// What no image and no state refers to is removed by Collect, except what a
// live process has pinned. A Store pins all that it puts (trees, blobs) and
// all that it is asked to pin, until Close.
//
//	st, err := storage.Open(ctx, dir, storage.Options{})
//	defer st.Close()
//	w, err := st.NewWork(ctx)
//	defer w.Close()
//	dir, err := w.Sub("fs")
//	... fill dir ...
//	tree, err := st.CommitTree(ctx, dir, storage.Tree{ID: storage.NewTreeID()}, owners)
//	err = st.Sync(ctx)
//	err = st.PutImage(ctx, storage.Image{Ref: ref, ID: config, Chain: []storage.TreeID{tree.ID}})
package storage
