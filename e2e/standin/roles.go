package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// roles are what a test wants PD to say: who leads PD, and how many regions each TiKV
// leads.
type roles struct {
	// Leader is a member's name. The first member leads where this is empty, or no
	// member.
	Leader string `json:"leader"`
	// Leaders has how many regions a TiKV leads, by the name of its pod; 0 for a pod
	// that is not in it.
	Leaders map[string]int `json:"leaders"`
}

// A rolesFile keeps the roles of one PD, in a file on its volume: a pod that is made
// again says the same as the one before.
type rolesFile struct {
	path string
	mu   sync.Mutex
}

// get returns the roles that were set last, and none before.
func (f *rolesFile) get() (roles, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read()
}

// change changes the roles, and keeps them.
func (f *rolesFile) change(with func(*roles)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := f.read()
	if err != nil {
		return err
	}
	with(&now)
	content, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("keep roles: %w", err)
	}
	// A process that is killed leaves the old file or the new one.
	if err := os.WriteFile(f.path+".new", content, 0o600); err != nil {
		return fmt.Errorf("keep roles: %w", err)
	}
	if err := os.Rename(f.path+".new", f.path); err != nil {
		return fmt.Errorf("keep roles: %w", err)
	}
	return nil
}

func (f *rolesFile) read() (roles, error) {
	content, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return roles{}, nil
	}
	if err != nil {
		return roles{}, fmt.Errorf("read roles: %w", err)
	}
	var now roles
	if err := json.Unmarshal(content, &now); err != nil {
		return roles{}, fmt.Errorf("read roles from %s: %w", f.path, err)
	}
	return now, nil
}
