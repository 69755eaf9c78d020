"""What `doctor` looks at: each module checks one part, and yields what it found."""
