package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/fault"
)

// store keeps the desired state in a file, for the agent that follows this
// one after a crash or an image update. An empty directory name keeps nothing.
type store struct{ dir string }

// stateFile is the file's content.
type stateFile struct {
	Version int         `json:"version"`
	Faults  []api.Fault `json:"faults"`
}

// stateVersion is raised when an older agent could misread the file.
const stateVersion = 1

var (
	// errNoState reports that nothing was ever stored.
	errNoState = errors.New("no state stored")
	// errDamaged reports a file that no agent of this version wrote.
	errDamaged = errors.New("state file damaged")
)

func (s store) path() string { return filepath.Join(s.dir, "state.json") }

// save replaces the file as a whole: after a crash it holds the old state or
// the new one. A nil fault means that there is none.
func (s store) save(f *fault.Fault) error {
	if s.dir == "" {
		return nil
	}
	state := stateFile{Version: stateVersion, Faults: []api.Fault{}}
	if f != nil {
		state.Faults = append(state.Faults, wireFault(*f))
	}
	content, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	if err := replaceFile(s.path(), append(content, '\n')); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// replaceFile writes beside the file, flushes, and renames, so that a crash of
// the process leaves the old content or the new.
func replaceFile(path string, content []byte) error {
	beside, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = beside.Write(content)
	err = errors.Join(err, beside.Sync(), beside.Close())
	if err == nil {
		err = os.Rename(beside.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(beside.Name()))
	}
	return nil
}

// load returns the stored fault, or nil when the stored state is to have none.
// It fails with errNoState, and with errDamaged after setting the file aside.
func (s store) load() (*fault.Fault, error) {
	if s.dir == "" {
		return nil, errNoState
	}
	content, err := os.ReadFile(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoState
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	f, err := decodeState(content)
	if err != nil {
		aside := fmt.Sprintf("%s.damaged-%s", s.path(), time.Now().UTC().Format("20060102T150405.000"))
		return nil, errors.Join(fmt.Errorf("%w: %w, set aside as %s", errDamaged, err, aside), os.Rename(s.path(), aside))
	}
	return f, nil
}

func decodeState(content []byte) (*fault.Fault, error) {
	var state stateFile
	if err := json.Unmarshal(content, &state); err != nil {
		return nil, err
	}
	if state.Version != stateVersion {
		return nil, fmt.Errorf("version %d, want %d", state.Version, stateVersion)
	}
	if len(state.Faults) == 0 {
		return nil, nil //nolint:nilnil // to have no fault is a state like any other
	}
	stored := state.Faults[0]
	delay, err := fault.ParseDelay(stored.Delay)
	if err != nil {
		return nil, err
	}
	if len(state.Faults) > 1 || stored.Name != fault.Latency || stored.Direction != directionEgress || delay == 0 {
		return nil, errors.New("a fault that this version does not know")
	}
	return &fault.Fault{Name: stored.Name, Delay: delay}, nil
}
