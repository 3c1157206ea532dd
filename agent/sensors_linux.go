package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	// rescanSensors is how often the list of sensors is made anew: they come and go with drivers and disks only, and
	// finding them takes several files each, reading them one.
	rescanSensors = 5 * time.Minute
	// sensorRetry is how long to leave the sensors alone after a failure: here asking again is cheap.
	sensorRetry = 0
)

// sensorSource reads the kernel's hardware monitors, or its thermal zones on machines that have no monitor.
type sensorSource struct {
	files  []sensorFile
	listed time.Time
}

// sensorFile is where a sensor's temperature is read, in thousandths of °C.
type sensorFile struct{ name, path string }

func (s *sensorSource) read(_ context.Context, m *machine) ([]temperature, error) {
	if now := m.now(); s.listed.IsZero() || now.Sub(s.listed) >= rescanSensors {
		s.files, s.listed = findSensors(m.sys), now
	}
	temperatures := make([]temperature, 0, len(s.files))
	for _, file := range s.files {
		text, err := os.ReadFile(file.path)
		if err != nil {
			// Gone, or asleep (a disk in standby answers EAGAIN or ENODATA): absent this time.
			if os.IsNotExist(err) {
				s.listed = time.Time{}
			}
			continue
		}
		if celsius, err := parseMillidegrees(string(text)); err == nil {
			temperatures = append(temperatures, temperature{sensor: file.name, celsius: celsius})
		}
	}
	return temperatures, nil
}

func parseMillidegrees(text string) (float64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return float64(n) / 1000, err
}

// findSensors lists the sensors under sysfs, each with a name of its own that stays the same over reboots.
func findSensors(sys string) []sensorFile {
	inputs, _ := filepath.Glob(filepath.Join(sys, "class/hwmon/hwmon*/temp*_input"))
	older, _ := filepath.Glob(filepath.Join(sys, "class/hwmon/hwmon*/device/temp*_input")) // kernels before 3.15
	inputs = append(inputs, older...)
	var files []sensorFile
	var devices []string // of files, to tell equal names apart
	for _, input := range inputs {
		directory, prefix := filepath.Dir(input), strings.TrimSuffix(filepath.Base(input), "_input")
		chip := readLine(filepath.Join(directory, "name"))
		label := readLine(filepath.Join(directory, prefix+"_label"))
		if label == "" {
			label = prefix
		}
		device := filepath.Base(directory)
		if target, err := os.Readlink(filepath.Join(directory, "device")); err == nil {
			device = filepath.Base(target)
		}
		files = append(files, sensorFile{name: strings.TrimPrefix(chip+" "+label, " "), path: input})
		devices = append(devices, device)
	}
	if len(files) == 0 {
		zones, _ := filepath.Glob(filepath.Join(sys, "class/thermal/thermal_zone*"))
		for _, zone := range zones {
			files = append(files, sensorFile{name: readLine(filepath.Join(zone, "type")), path: filepath.Join(zone, "temp")})
			devices = append(devices, filepath.Base(zone))
		}
	}
	count := make(map[string]int)
	for _, file := range files {
		count[file.name]++
	}
	seen := make(map[string]int)
	for i := range files {
		if count[files[i].name] > 1 {
			files[i].name += " (" + devices[i] + ")"
		}
		if seen[files[i].name]++; seen[files[i].name] > 1 {
			files[i].name = fmt.Sprintf("%s #%d", files[i].name, seen[files[i].name])
		}
	}
	sort.Slice(files, func(i, j int) bool { return files[i].name < files[j].name })
	return files
}

// readLine returns a small file's text without the line's end, "" if it cannot be read.
func readLine(path string) string {
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text))
}
