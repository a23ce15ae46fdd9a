// Package docs holds the documents for people. Its tests hold them to the code:
// links, paths, flags, routes, reasons, annotations, metrics, and every command
// and every fault that a page shows.
package docs
