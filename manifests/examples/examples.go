// Package examples has the faults and topologies of this folder, which are the presets of the
// plugin.
package examples

import "embed"

// Files are the files with objects. Each has one, for a TidbCluster that is called basic, and
// a comment on top of what it does and what to expect.
//
//go:embed *.yaml
var Files embed.FS
