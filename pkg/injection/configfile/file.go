package configfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidelay/tidelay/pkg/injection"
)

// pollInterval is the time between two reads of the file. kubelet takes a minute or
// so to write a changed ConfigMap there.
const pollInterval = 2 * time.Second

// File follows a configuration file. The configuration in use is the last valid one.
type File struct {
	path     string
	defaults injection.Config
	log      logr.Logger
	current  atomic.Pointer[injection.Config]

	// valid is 1 if the file is valid as it is now, else 0.
	valid prometheus.Gauge
	// loaded is when the configuration in use was loaded, in seconds since 1970.
	loaded prometheus.Gauge

	// content is the content of the file when it was last valid.
	content []byte
	// problem is the error of the last read, "" for none. It is logged when it
	// changes.
	problem string
}

// Open reads the file at path. With an empty path the configuration is defaults. It
// fails if the file can't be read or is not valid, because then there is no valid
// configuration to use. It registers its metrics with metrics.
func Open(path string, defaults injection.Config, metrics prometheus.Registerer, log logr.Logger) (*File, error) {
	f := &File{
		path: path, defaults: defaults, log: log,
		valid: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidelay_config_last_reload_successful",
			Help: "Whether the configuration file makes sense as it is; the last one that did is in use.",
		}),
		loaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidelay_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in use was loaded, in seconds since 1970.",
		}),
	}
	if err := errors.Join(metrics.Register(f.valid), metrics.Register(f.loaded)); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	content, err := f.read()
	if err != nil {
		return nil, err
	}
	if err := f.load(content); err != nil {
		return nil, err
	}
	return f, nil
}

// Current returns the configuration in use. It is safe for concurrent use.
func (f *File) Current() injection.Config { return *f.current.Load() }

// Start follows the file until ctx ends.
func (f *File) Start(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.reload()
		}
	}
}

// NeedLeaderElection is false, because every replica follows its own file.
func (f *File) NeedLeaderElection() bool { return false }

// reload reads the file and puts it in use if it has changed and is valid. A file
// that is not valid changes nothing but the metrics, and is logged once.
func (f *File) reload() {
	content, err := f.read()
	if err != nil {
		f.report(err)
		return
	}
	if f.problem == "" && bytes.Equal(content, f.content) {
		return
	}
	if err := f.load(content); err != nil {
		f.report(err)
		return
	}
	f.log.Info("configuration reloaded", "path", f.path)
}

// noFile is what stands for the file if there is no path.
const noFile = "agent: {}"

// read returns the content of the file.
func (f *File) read() ([]byte, error) {
	if f.path == "" {
		return []byte(noFile), nil
	}
	content, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return content, nil
}

// load puts content in use, or returns why it is not valid.
func (f *File) load(content []byte) error {
	config, err := Parse(content, f.defaults)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.content, f.problem = content, ""
	f.current.Store(&config)
	f.valid.Set(1)
	f.loaded.SetToCurrentTime()
	return nil
}

// report notes that the file is not valid, and logs why if that is new.
func (f *File) report(err error) {
	f.valid.Set(0)
	if err.Error() == f.problem {
		return
	}
	f.problem = err.Error()
	f.log.Error(err, "configuration not reloaded, the last good one stays in use")
}
