package daemon

import (
	"io"
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// setLogger returns a logger that writes to w, and makes it the logger of
// controller-runtime, of client-go (klog) and of the standard library.
func (o *Options) setLogger(w io.Writer) logr.Logger {
	handlerOptions := &slog.HandlerOptions{Level: slog.LevelInfo}
	if o.LogLevel == "debug" {
		handlerOptions.Level = slog.LevelDebug
	}
	var handler slog.Handler = slog.NewTextHandler(w, handlerOptions)
	if o.LogFormat == "json" {
		handler = slog.NewJSONHandler(w, handlerOptions)
	}
	log := logr.FromSlogHandler(handler)
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	slog.SetDefault(slog.New(handler))
	return log
}
