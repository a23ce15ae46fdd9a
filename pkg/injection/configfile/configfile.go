// Package configfile reads the injector's configuration file, which is mounted
// from a ConfigMap, and follows it while the injector runs:
//
//	agent:
//	  image: registry.example.com/tidelay/agent:v1   # that of --agent-image unless given
//	  imagePullPolicy: IfNotPresent                   # Always, IfNotPresent or Never
//	  imagePullSecrets: [registry]                    # Secrets in the pod's namespace
//	  resources:
//	    requests: {cpu: 10m, memory: 32Mi}
//	    limits: {cpu: 500m, memory: 128Mi}            # cpu: only where every container has one
//	  maxDuration: 1h                                 # a fault ends after that, 1s to 720h
//	  tokenSecret: tidelay-token                      # its key "token" guards the agent
//
// All of it may be left out. What is not known or given twice is refused.
package configfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/webhook"
)

// document is the file.
type document struct {
	Agent struct {
		Image            string                      `json:"image"`
		ImagePullPolicy  corev1.PullPolicy           `json:"imagePullPolicy"`
		ImagePullSecrets []string                    `json:"imagePullSecrets"`
		Resources        corev1.ResourceRequirements `json:"resources"`
		MaxDuration      string                      `json:"maxDuration"`
		TokenSecret      string                      `json:"tokenSecret"`
	} `json:"agent"`
}

// Parse reads a file's content. What it leaves out is as in defaults. The error
// names every bad setting, its value and what is accepted.
func Parse(content []byte, defaults webhook.Config) (webhook.Config, error) {
	var d document
	object, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return webhook.Config{}, fmt.Errorf("parse configuration: %w", err)
	}
	unknown, err := json.UnmarshalStrict(object, &d)
	if err := errors.Join(append(unknown, err)...); err != nil {
		return webhook.Config{}, fmt.Errorf("parse configuration: %w", err)
	}
	c := defaults
	if d.Agent.Image != "" {
		c.Image = d.Agent.Image
	}
	if d.Agent.ImagePullPolicy != "" {
		c.PullPolicy = d.Agent.ImagePullPolicy
	}
	c.PullSecrets, c.TokenSecret = d.Agent.ImagePullSecrets, d.Agent.TokenSecret
	c.Resources = corev1.ResourceRequirements{
		Requests: merge(defaults.Resources.Requests, d.Agent.Resources.Requests),
		Limits:   merge(defaults.Resources.Limits, d.Agent.Resources.Limits),
		Claims:   d.Agent.Resources.Claims,
	}
	var unparsed error
	if text := d.Agent.MaxDuration; text != "" {
		if c.MaxDuration, err = time.ParseDuration(text); err != nil || c.MaxDuration == 0 {
			unparsed = fmt.Errorf(`agent.maxDuration %.100q: want a time with its unit, such as "1h"`, text)
		}
	}
	if err := errors.Join(unparsed, c.Validate()); err != nil {
		return webhook.Config{}, err
	}
	return c, nil
}

func merge(defaults, given corev1.ResourceList) corev1.ResourceList {
	all := defaults.DeepCopy()
	maps.Copy(all, given)
	return all
}

// pollInterval is how often the file is looked at. kubelet takes a minute or so
// to bring a changed ConfigMap there.
const pollInterval = 2 * time.Second

// File is the configuration that a file last held without a mistake.
type File struct {
	path     string
	defaults webhook.Config
	log      logr.Logger
	// good is whether the file makes sense, loaded when it last did.
	good, loaded prometheus.Gauge
	current      atomic.Pointer[webhook.Config]
	// looked is what was there when it was looked at last, and why it could not
	// be read.
	looked  []byte
	failure string
}

// Open reads the file at path, or with none takes the defaults. It fails unless
// what it reads makes sense: there is nothing good to keep yet.
func Open(path string, defaults webhook.Config, metrics prometheus.Registerer, log logr.Logger) (*File, error) {
	f := &File{
		path: path, defaults: defaults, log: log,
		good: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidelay_config_last_reload_successful",
			Help: "Whether the configuration file makes sense as it is; the last one that did is in use.",
		}),
		loaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tidelay_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in use was loaded, in seconds since 1970.",
		}),
	}
	if err := errors.Join(metrics.Register(f.good), metrics.Register(f.loaded)); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	content, err := f.read()
	if err != nil {
		return nil, err
	}
	config, err := Parse(content, defaults)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.use(content, config)
	return f, nil
}

// use puts a configuration in force.
func (f *File) use(content []byte, config webhook.Config) {
	f.looked, f.failure = content, ""
	f.current.Store(&config)
	f.good.Set(1)
	f.loaded.SetToCurrentTime()
}

func (f *File) read() ([]byte, error) {
	if f.path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return content, nil
}

// Current returns the configuration in use. It is safe for concurrent use.
func (f *File) Current() webhook.Config { return *f.current.Load() }

// Start follows the file until ctx ends.
func (f *File) Start(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.look()
		}
	}
}

// NeedLeaderElection is false: every replica follows its own file.
func (f *File) NeedLeaderElection() bool { return false }

// look takes over what is there, unless it was there before or makes no sense.
func (f *File) look() {
	content, err := f.read()
	if err != nil {
		f.fail(err)
		return
	}
	if f.failure == "" && bytes.Equal(content, f.looked) {
		return
	}
	config, err := Parse(content, f.defaults)
	if err != nil {
		f.fail(fmt.Errorf("%s: %w", f.path, err))
		return
	}
	f.use(content, config)
	f.log.Info("configuration reloaded", "path", f.path)
}

// fail says once what is wrong.
func (f *File) fail(err error) {
	f.good.Set(0)
	if err.Error() == f.failure {
		return
	}
	f.failure = err.Error()
	f.log.Error(err, "configuration not reloaded, the last good one stays in use")
}
