# shellcheck shell=bash disable=SC2154
# How `backup` brings a backup back: into its place, into force, and out again where that fails. Sourced after ops.sh; verifying
# and making backups is in `backup` itself.

restore() {
  local file='' start=no config_only=no argument kind
  for argument; do
    case $argument in
      --start) start=yes ;;
      --config-only) config_only=yes ;;
      -h | --help) show_help; return ;;
      -*) misused "backup restore does not know $argument" ;;
      *) [ -z "$file" ] || misused "one backup at a time"; file=$argument ;;
    esac
  done
  [ -n "$file" ] || misused "name the backup to restore"
  needs tar gzip sha256sum
  scratch
  lock backup
  # Before anything is touched, and by its whole path: nothing below depends on the folder this runs in.
  verify "$file" || die "$file is refused, and nothing was changed: $WRONG"
  unpack
  undo_interrupted
  kind=$(sed -n 's/^kind: //p' "$STAGE/MANIFEST")
  BEFORE=''
  if [ -d "$SLUICEGATE_CONFIG_DIR" ]; then
    info "keeping what is there now"
    make "$([ "$kind" = full ] && [ "$config_only" = no ] && echo full || echo config)"
    BEFORE=$MADE
  fi
  WITH_STATE=no
  [ "$kind" != full ] || [ "$config_only" = yes ] || [ ! -d "$STAGE/state" ] || WITH_STATE=yes
  find_units

  at_end undo
  put_in_place
  if take_it "$start"; then
    settle
    # Made visible: a name may have what steers a terminal.
    sed -n 's/^link: /[WARN] it was a link, and is a file now: /p' "$STAGE/MANIFEST" | cat -v >&2
    info "restored $file${BEFORE:+; what was there before is in $BEFORE}"
  else
    error "$WRONG"
    undo
    die "the backup was not restored; everything is as it was"
  fi
}

# Sets RUNNING to the units that run, and IN_FORCE to these and those that are enabled: the gateway of the host, and the
# instances. Where there are none, it is the gateway of the host that the backup is for.
find_units() {
  local unit file
  RUNNING=() IN_FORCE=()
  if has_service; then
    while IFS= read -r unit; do
      if is_active "$unit"; then
        RUNNING+=("$unit")
      elif ! service is-enabled --quiet "$unit" 2>/dev/null; then
        continue
      fi
      IN_FORCE+=("$unit")
    done < <(
      {
        echo "$SLUICEGATE_UNIT"
        service list-units --all --plain --no-legend 'sluicegate@*.service' 2>/dev/null | awk '{ print $1 }'
        # Of instances that are enabled and do not run systemd has no list; each has its file, here or in the backup.
        for file in "$SLUICEGATE_CONFIG_DIR"/*.yaml "$STAGE"/config/*.yaml; do
          file=$(basename -- "$file" .yaml)
          [[ ! $file =~ ^[A-Za-z0-9_.:-]+$ ]] || echo "sluicegate@$file.service"
        done
      } | awk '!seen[$0]++'
    )
  fi
  [ "${#IN_FORCE[@]}" -gt 0 ] || IN_FORCE=("$SLUICEGATE_UNIT")
}

# The file that a unit is configured by.
file_of() {
  local name=${1#sluicegate@}
  if [ "$1" = "$SLUICEGATE_UNIT" ]; then echo "$SLUICEGATE_CONFIG"; else echo "$SLUICEGATE_CONFIG_DIR/${name%.service}.yaml"; fi
}

# of_unit UNIT FUNCTION ...: runs it for this unit in the place of the host's one gateway.
of_unit() {
  local unit=$1
  shift
  SLUICEGATE_CONFIG=$(file_of "$unit") SLUICEGATE_UNIT=$unit "$@"
}

# Unpacks into STAGE, beside the configuration so that it can be moved there at once.
unpack() {
  local parent needed user group
  parent=$(dirname -- "$SLUICEGATE_CONFIG_DIR")
  ! mountpoint -q -- "$SLUICEGATE_CONFIG_DIR" || die "$SLUICEGATE_CONFIG_DIR is a mount: unpack the backup by hand"
  if [ "$(id -u)" -eq 0 ]; then
    # Without them tar takes the numbers, which are somebody else's here.
    while IFS=/ read -r user group; do
      getent passwd "$user" >/dev/null || die "there is no user $user here: install the package first"
      getent group "$group" >/dev/null || die "there is no group $group here: install the package first, or groupadd $group"
    done < <(sed -E 's/^[^ ]+ ([^ ]+) .*/\1/' "$SCRATCH/named" | sort -u)
  fi
  # Of runs that were killed: no other one is at work, for this one has the lock.
  rm -rf -- "$parent"/.sluicegate-restore.????????
  STAGE=$(mktemp -d "$parent/.sluicegate-restore.XXXXXXXX")
  at_end "rm -rf -- $(printf %q "$STAGE")"
  needed=(MANIFEST config environment)
  ! grep -q ' state/' "$SCRATCH/list" || needed+=(state)
  tar --extract --gzip --file="$ARCHIVE" --directory="$STAGE" --same-permissions --keep-old-files --delay-directory-restore \
    -- "${needed[@]}" || die "the backup could not be unpacked, and nothing was changed"
}

# Each folder takes the place of the one that is there, which waits beside it with this ending. One that is found at
# the start is of a run that was killed; where the mark beside the configuration is there too, that run had come to its end
# but for removing it.
ASIDE=.before-restore
MARK=$SLUICEGATE_CONFIG_DIR.restored

# Says at once that what was restored is in force: from now on what was set aside is only in the way.
mark() {
  local new
  new=$(mktemp "$STAGE/mark.XXXXXXXX")
  echo "what ends in $ASIDE is from before a restore that is done" >"$new"
  sync -- "$new"
  mv -T -- "$new" "$MARK"
}

put_in_place() {
  PLACED=yes
  swap "$STAGE/config" "$SLUICEGATE_CONFIG_DIR"
  swap_environment
  if [ "$WITH_STATE" = yes ]; then
    if [ "${#RUNNING[@]}" -gt 0 ]; then
      info "stopping ${RUNNING[*]}: a state is only read at the start"
      service stop "${RUNNING[@]}"
    fi
    swap "$STAGE/state" "$SLUICEGATE_STATE_DIR"
  fi
}

# swap NEW PLACE
swap() {
  if [ -e "$2" ]; then
    mv -T -- "$2" "$2$ASIDE"
  else
    mkdir -- "$2$ASIDE.none"
  fi
  # A state may lie on another file system; the folder is then not there for a moment, and the service is stopped.
  mv -T -- "$1" "$2"
}

swap_environment() {
  local file name
  for file in "$STAGE"/environment/*; do
    [ -f "$file" ] || continue
    name=$ENV_DIR/$(basename -- "$file")
    if [ -e "$name" ]; then mv -T -- "$name" "$name$ASIDE"; else mkdir -- "$name$ASIDE.none"; fi
    cp -p -- "$file" "$name"
  done
}

# Has the gateways take what is in place now. Fails with the reason in WRONG.
take_it() {
  local unit told todo=() said=()
  # All of them first: where one is refused, none has been touched.
  for unit in "${IN_FORCE[@]}"; do
    accepted "$unit" || return 1
  done
  for unit in "${IN_FORCE[@]}"; do
    if ! runs "$unit" && [ "$1" = no ]; then
      info "$unit does not run; start it with: systemctl start $unit"
      continue
    fi
    todo+=("$unit")
    if runs "$unit" && [ "$WITH_STATE" = no ]; then
      if ! told=$(of_unit "$unit" ctl reload 2>&1); then
        WRONG="the running gateway $unit refuses the configuration:"$'\n'"$told"
        return 1
      fi
      said+=("$told")
      same_environment "$unit" || warn "variables of $unit are others now: systemctl restart $unit has it take them"
    elif ! told=$(service start "$unit" 2>&1); then
      WRONG="$unit does not start: $told"
      return 1
    fi
  done
  mark
  [ "${#said[@]}" -eq 0 ] || printf '%s\n' "${said[@]}"
  for unit in ${todo[@]+"${todo[@]}"}; do
    if ! of_unit "$unit" gate '' 30 ''; then
      WRONG="the gateway $unit does not serve with it: $GATE"
      return 1
    fi
  done
}

# Whether the configuration that a unit has now is accepted.
accepted() {
  local told file name=${1#sluicegate@}
  name=${name%.service}
  file=$(file_of "$1")
  if [ ! -e "$file" ]; then
    WRONG="$1 is in force on this host, and the backup has no $(basename -- "$file"): systemctl disable --now $1 if it is to go"
    return 1
  fi
  [ -x "$SLUICEGATE_BIN" ] || return 0
  # systemd makes it at the start of an instance, and the check that comes before would miss it.
  if [ "$1" != "$SLUICEGATE_UNIT" ] && ! log_folder "$name"; then
    WRONG="the logs of $1 have no folder"
    return 1
  fi
  told=$(check_config "$SLUICEGATE_BIN" "$file" "$1" 2>&1) && return 0
  WRONG="the configuration of the backup for $1 is refused:"$'\n'"$told"
  return 1
}

# Whether a unit ran before.
runs() {
  local unit
  for unit in ${RUNNING[@]+"${RUNNING[@]}"}; do
    [ "$unit" != "$1" ] || return 0
  done
  return 1
}

# Whether a unit's environment file is the one that it was started with.
same_environment() {
  local name=${1%.service}
  name=$ENV_DIR/${name/@/-}
  [ ! -e "$name$ASIDE.none" ] || return 1
  [ ! -e "$name$ASIDE" ] || cmp -s -- "$name" "$name$ASIDE"
}

# It is done: what was set aside goes, for it is in the backup that was made.
settle() {
  PLACED=no
  each_aside discard
  rm -f -- "$MARK"
  # Where SELinux rules, what was moved in still bears the label of where it was made.
  ! command -v restorecon >/dev/null || restorecon -R "$SLUICEGATE_CONFIG_DIR" "$SLUICEGATE_STATE_DIR" || true
}

# Puts everything back, when it was moved.
undo() {
  [ "${PLACED:-no}" = yes ] || return 0
  PLACED=no
  local unit started=()
  for unit in "${IN_FORCE[@]}"; do
    # Also what was only started by this restore.
    if is_active "$unit" && { [ "$WITH_STATE" = yes ] || ! runs "$unit"; }; then started+=("$unit"); fi
  done
  [ "${#started[@]}" -eq 0 ] || service stop "${started[@]}" || true
  rm -f -- "$MARK"
  each_aside put_back
  for unit in ${RUNNING[@]+"${RUNNING[@]}"}; do
    if is_active "$unit"; then
      of_unit "$unit" ctl reload >/dev/null || true
    else
      service start "$unit" || error "$unit does not start"
    fi
  done
}

# What a run left that was killed: removed where that run was done, and else put back, after a backup of what is in its place.
undo_interrupted() {
  local kind=config
  LEFT=()
  each_aside note
  if [ -e "$MARK" ]; then
    tidy_restored
  elif [ "${#LEFT[@]}" -gt 0 ]; then
    warn "an earlier restore was killed before what it restored was in force; what it had moved is put back first"
    if [ -d "$SLUICEGATE_CONFIG_DIR" ]; then
      [ ! -e "$SLUICEGATE_STATE_DIR$ASIDE" ] || kind=full
      info "keeping what that restore had put there"
      make "$kind"
    fi
    each_aside put_back
  fi
}

# The same for who restores nothing: tells what is in the way, and removes it where it can be.
tell_interrupted() {
  LEFT=()
  each_aside note
  if [ -e "$MARK" ]; then
    tidy_restored
  elif [ "${#LEFT[@]}" -gt 0 ]; then
    warn "an earlier restore was killed, and what was there before it waits in ${LEFT[*]}; the next restore puts that back first"
  fi
}

tidy_restored() {
  warn "an earlier restore was killed when it was done; what it had set aside is removed"
  settle
}

note() { LEFT+=("$1"); }

# Away at once, so that half of it is never taken for the whole.
discard() {
  case $1 in
    *.gone) rm -rf -- "$1" ;;
    *)
      rm -rf -- "$1.gone"
      mv -T -- "$1" "$1.gone"
      rm -rf -- "$1.gone"
      ;;
  esac
}

put_back() {
  local place=${1%.none}
  place=${place%"$ASIDE"}
  case $1 in
    *.gone) rm -rf -- "$1"; return ;;
  esac
  rm -rf -- "$1.gone"
  [ ! -e "$place" ] || mv -T -- "$place" "$1.gone"
  case $1 in
    *.none) rmdir -- "$1" ;;
    *) mv -T -- "$1" "$place" ;;
  esac
  rm -rf -- "$1.gone"
}

# each_aside COMMAND ...: runs it with each thing that was set aside.
each_aside() {
  local aside
  for aside in {"$SLUICEGATE_CONFIG_DIR","$SLUICEGATE_STATE_DIR","$ENV_DIR"/sluicegate,"$ENV_DIR"/sluicegate-*}"$ASIDE"{,.none}{,.gone}; do
    [ ! -e "$aside" ] || "$@" "$aside"
  done
}
