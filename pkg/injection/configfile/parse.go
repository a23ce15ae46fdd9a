// Package configfile reads the configuration file, which is mounted from a
// ConfigMap, and follows its changes:
//
//	agent:
//	  imagePullPolicy: IfNotPresent                   # Always, IfNotPresent or Never
//	  imagePullSecrets: [registry]                    # Secrets in the pod's namespace
//	  resources:
//	    requests: {cpu: 10m, memory: 32Mi}
//	    limits: {cpu: 500m, memory: 128Mi}            # cpu: only if every container has one
//	  maxDuration: 1h                                 # the longest life of a fault, 1s to 720h
//	  tokenSecret: tidelay-token                      # a Secret whose key "token" is the agent's token
//
// Every setting may be left out. A file without any content is an error: "agent: {}" is
// for the defaults. A setting that is unknown or given twice is an
// error. The agent's image is not set here, but by --agent-image: a change of this
// file is in force everywhere at once, and a rollout tries the image first.
package configfile

import (
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/injection"
)

// document is the content of the file.
type document struct {
	Agent struct {
		Image            any                         `json:"image"` // refused
		ImagePullPolicy  corev1.PullPolicy           `json:"imagePullPolicy"`
		ImagePullSecrets []string                    `json:"imagePullSecrets"`
		Resources        corev1.ResourceRequirements `json:"resources"`
		MaxDuration      string                      `json:"maxDuration"`
		TokenSecret      string                      `json:"tokenSecret"`
	} `json:"agent"`
}

// Parse reads the content of a file. A setting that it leaves out is as in defaults.
// The error names every setting that is not valid, its value and what is accepted.
func Parse(content []byte, defaults injection.Config) (injection.Config, error) {
	var d document
	object, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return injection.Config{}, fmt.Errorf("parse configuration: %w", err)
	}
	if string(object) == "null" {
		return injection.Config{}, errors.New(`parse configuration: it is empty; want settings, or "agent: {}" for the defaults`)
	}
	unknown, err := json.UnmarshalStrict(object, &d)
	if err := errors.Join(append(unknown, err)...); err != nil {
		return injection.Config{}, fmt.Errorf("parse configuration: %w", err)
	}
	c := defaults
	if d.Agent.ImagePullPolicy != "" {
		c.PullPolicy = d.Agent.ImagePullPolicy
	}
	c.PullSecrets, c.TokenSecret = d.Agent.ImagePullSecrets, d.Agent.TokenSecret
	c.Resources = corev1.ResourceRequirements{
		Requests: merge(defaults.Resources.Requests, d.Agent.Resources.Requests),
		Limits:   merge(defaults.Resources.Limits, d.Agent.Resources.Limits),
		Claims:   d.Agent.Resources.Claims,
	}
	var misplaced, unparsed error
	if image := d.Agent.Image; image != nil {
		misplaced = fmt.Errorf("agent.image %.100q: want it in --agent-image (images in kustomization.yaml, images.agent in the chart), so that a rollout tries the image first", fmt.Sprint(image))
	}
	if text := d.Agent.MaxDuration; text != "" {
		if c.MaxDuration, err = time.ParseDuration(text); err != nil || c.MaxDuration == 0 {
			unparsed = fmt.Errorf(`agent.maxDuration %.100q: want a time with its unit, such as "1h"`, text)
		}
	}
	if err := errors.Join(misplaced, unparsed, c.Validate()); err != nil {
		return injection.Config{}, err
	}
	return c, nil
}

// merge returns defaults with the quantities of given in place of its own.
func merge(defaults, given corev1.ResourceList) corev1.ResourceList {
	all := defaults.DeepCopy()
	maps.Copy(all, given)
	return all
}
