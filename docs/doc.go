// Package docs holds the documents for people. Its tests compare them with the
// code: links, paths, flags, routes, reasons, annotations, metrics, and every command
// and every fault that a page shows.
package docs
